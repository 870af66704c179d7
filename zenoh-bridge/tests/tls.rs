//! The example with certificates and access control, as it is written.

mod support;

use lkas_mirror::{Mirror, Network};
use lkas_shm::{ControlChannel, Observer, Options, Wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::{LONG, Running, Test, control, exports, until};

/// The example's configuration, with the certificates in `folder`, for the machine `name`.
fn configuration(folder: &Path, example: &str, name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tls").join(example);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("/etc/lkas", folder.to_str().unwrap()).replace("computer.", &format!("{name}."));
    let made = folder.join(format!("{name}.json5"));
    std::fs::write(&made, text).unwrap();
    made
}

#[test]
fn who_has_a_certificate_does_what_its_name_may() {
    let folder = std::env::temp_dir().join(format!("lkas-mirror-tls-{}", std::process::id()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tls/certificates.sh");
    let names = ["vehicle", "computer", "viewer"];
    let machines = names.map(|name| format!("{name}=127.0.0.1"));
    let made = Command::new(script).arg(&folder).args(machines).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let test = Test::new("tls");
    let tls = vec![format!("tls/127.0.0.1:{}", test.port)];
    let vehicle = Network {
        listen: tls.clone(),
        zenoh: Some(configuration(&folder, "vehicle.json5", "vehicle")),
        ..Network::default()
    };
    let connects = |zenoh| Network { connect: tls.clone(), zenoh, ..Network::default() };
    let with = |name| connects(Some(configuration(&folder, "computer.json5", name)));
    let mirror = |side: &str, network| Mirror { network, namespace: test.namespace(side), ..Mirror::default() };

    let mut state = ControlChannel::create(&test.channel("vehicle", "status_simulation"), Options::new()).unwrap();
    let mut controls = ControlChannel::create(&test.channel("computer", "vehicle_control"), Options::new()).unwrap();
    let mut forged = ControlChannel::create(&test.channel("viewer", "vehicle_control"), Options::new()).unwrap();
    // Who may only watch is there first, and exports what it may not.
    let _viewer = Running::start(Mirror {
        exports: exports(&["vehicle_control"]),
        imports: vec!["status_simulation".into()],
        ..mirror("viewer", with("viewer"))
    });
    let _nobody =
        Running::start(Mirror { imports: vec!["status_simulation".into()], ..mirror("nobody", connects(None)) });
    let _vehicle = Running::start(Mirror {
        exports: exports(&["status_simulation"]),
        imports: vec!["vehicle_control".into()],
        ..mirror("vehicle", vehicle)
    });
    let mut watched = ControlChannel::open(&test.channel("viewer", "status_simulation"), LONG).unwrap();
    until("the state at the viewer", || {
        state.publish(control(1));
        forged.publish(control(666));
        watched.wait(Duration::from_millis(20)) == Wait::Fresh
    });
    let _computer =
        Running::start(Mirror { exports: exports(&["vehicle_control"]), ..mirror("computer", with("computer")) });
    let mut received = ControlChannel::open(&test.channel("vehicle", "vehicle_control"), LONG).unwrap();
    let mut count = 0;
    until("controls of the computer", || {
        controls.publish(control(2));
        forged.publish(control(666));
        if received.wait(Duration::from_millis(20)) == Wait::Fresh {
            assert_eq!(received.take().unwrap().frame_id(), 2, "of the one that may drive");
            count += 1;
        }
        count == 10
    });
    assert!(Observer::open(&test.channel("nobody", "status_simulation")).is_err(), "without a certificate");
    std::fs::remove_dir_all(&folder).unwrap();
}
