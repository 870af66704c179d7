//! Two mirrors of one machine, in two namespaces: what holds whoever comes, leaves or lies.

mod support;

use lkas_messages::{Control, Image, ImageShape, PixelFormat};
use lkas_mirror::{Mirror, Network};
use lkas_shm::{
    AnyChannel, Channel, Contract, ControlChannel, ImageChannel, Message, Observer, Options, Wait, Writer, clock,
};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use support::{LONG, Running, Test, control, exports, until};

fn contract() -> Contract {
    Contract::new(Duration::from_millis(100), Duration::from_millis(250)).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
#[message(name = "test.Wheel")]
struct Wheel {
    #[message(unit = "rad/s")]
    rate: f64,
    #[message(unit = "s")]
    timestamp: f64,
}

#[test]
fn a_mirrored_channel_is_a_channel() {
    let test = Test::new("same");
    let shape = ImageShape::new(64, 48, PixelFormat::Bgr8).unwrap();
    let options = Options::new().readers(6).contract(contract());
    let mut wheels = Channel::<Wheel>::create(&test.channel("a", "wheel"), options).unwrap();
    let mut frames = ImageChannel::create(&test.channel("a", "frames"), shape, options).unwrap();
    let mut raw = ImageChannel::create(&test.channel("a", "raw"), shape, Options::new()).unwrap();
    let _a = Running::start(Mirror { exports: exports(&["wheel", "frames:jpeg=95", "raw"]), ..test.listens("a") });
    let names = ["wheel", "frames", "raw"];
    let _b = Running::start(Mirror { imports: names.map(str::to_owned).to_vec(), ..test.connects("b") });
    for name in names {
        until("it is there", || Observer::open(&test.channel("b", name)).is_ok());
        let [here, there] = ["a", "b"].map(|side| Observer::open(&test.channel(side, name)).unwrap());
        assert_eq!(there.description(), here.description(), "{name}");
        assert_eq!(there.look().contract, here.look().contract, "{name}");
    }
    let sent = Wheel { rate: 3.5, timestamp: clock::now_seconds() };
    wheels.publish(sent);
    let before = clock::now();
    for writer in [&mut frames, &mut raw] {
        let mut loan = writer.loan();
        loan.start(shape, 7, sent.timestamp).unwrap().fill(90);
        loan.seal();
        loan.publish();
    }
    let mut reader = Channel::<Wheel>::open(&test.channel("b", "wheel"), LONG).unwrap();
    assert_eq!(reader.wait(LONG), Wait::Fresh);
    let wheel = reader.take().unwrap();
    // Both sides have one clock here: the age is an upper bound, and by little.
    assert!(wheel.rate == 3.5 && wheel.timestamp <= sent.timestamp + 1e-6, "{:?}", *wheel);
    assert!(sent.timestamp - wheel.timestamp < 30.0 && wheel.time() <= before);
    for name in ["frames", "raw"] {
        let mut reader = ImageChannel::open(&test.channel("b", name), LONG).unwrap();
        until("a frame", || reader.has_fresh());
        let frame = reader.take().unwrap();
        let image: &Image = &frame;
        assert!(image.is_whole());
        assert_eq!((image.frame_id(), image.shape()), (7, Some(shape)));
        assert!(image.view().unwrap().pixels().iter().all(|byte| byte.abs_diff(90) < 4), "{name}");
    }
    until("figures", || {
        let figures = ["a", "b"].map(|side| test.figures(side, "raw").unwrap_or_default());
        figures.iter().all(|one| one.values == 1 && one.bytes as usize == shape.image_bytes())
    });
    let figures = test.figures("b", "wheel").unwrap();
    assert!(figures.offset_s.abs() <= figures.uncertainty_s + 1e-3, "one clock: {figures:?}");
}

#[test]
fn the_newest_value_arrives_whatever_comes_between() {
    let test = Test::new("newest");
    let mut writer = ControlChannel::create(&test.channel("a", "control"), Options::new()).unwrap();
    let _a = Running::start(Mirror { exports: exports(&["control"]), ..test.listens("a") });
    let _b = Running::start(Mirror { imports: vec!["control".into()], ..test.connects("b") });
    let mut reader = ControlChannel::open(&test.channel("b", "control"), LONG).unwrap();
    for frame_id in 1..=20_000 {
        writer.publish(control(frame_id));
    }
    let (mut last, mut sequence) = (0, 0);
    until("the last one", || {
        if let Some(control) = reader.take() {
            assert!(control.frame_id() > last && control.sequence() > sequence);
            assert!(control.is_whole());
            (last, sequence) = (control.frame_id(), control.sequence());
        }
        last == 20_000
    });
}

#[test]
fn the_end_of_a_writer_and_of_a_mirror_is_the_end_here_and_all_go_on() {
    let test = Test::new("ends");
    let name = test.channel("a", "control");
    let options = Options::new().contract(contract());
    let mut writer = ControlChannel::create(&name, options).unwrap();
    let exporter = || Mirror { exports: exports(&["control"]), ..test.connects("a") };
    let importer = || Mirror { imports: vec!["control".into()], ..test.connects("b") };
    // In the middle there is one that mirrors something else.
    let middle = || Mirror { imports: vec!["nothing".into()], ..test.listens("m") };
    let mut m = Some(Running::start(middle()));
    let mut a = Some(Running::start(exporter()));
    let mut b = Some(Running::start(importer()));
    let mut reader = ControlChannel::open(&test.channel("b", "control"), LONG).unwrap();
    let (mut frame_id, mut sequence) = (0, 0);
    let mut arrives = |writer: &mut Writer<Control>, what: &str| {
        until(what, || {
            frame_id += 1;
            writer.publish(control(frame_id));
            reader.wait(Duration::from_millis(20)) == Wait::Fresh
        });
        let control = reader.take().unwrap();
        assert!(control.sequence() > sequence, "{what}: the sequence went back");
        sequence = control.sequence();
    };
    let gone = |what: &str| {
        until(what, || !Observer::open(&test.channel("b", "control")).unwrap().look().has_writer);
    };
    arrives(&mut writer, "at first");
    drop(writer);
    gone("the writer has ended");
    let mut writer = ControlChannel::create(&name, options).unwrap();
    arrives(&mut writer, "from a successor");
    a.take();
    gone("the exporter has ended");
    a = Some(Running::start(exporter()));
    arrives(&mut writer, "from the next exporter");
    b.take();
    gone("the importer has ended");
    b = Some(Running::start(importer()));
    arrives(&mut writer, "by the next importer");
    m.take();
    gone("the one in the middle has ended");
    m = Some(Running::start(middle()));
    arrives(&mut writer, "by the next one in the middle");
    // A new segment counts from the start; its mirror does not.
    drop(writer);
    gone("the writer has ended once more");
    until("nobody uses it", || {
        a = None;
        lkas_shm::unlink(&name).is_ok()
    });
    a = Some(Running::start(exporter()));
    let mut writer = ControlChannel::create(&name, options).unwrap();
    arrives(&mut writer, "from another segment");
    drop((a, b, m));
}

#[test]
fn a_channel_has_one_writer() {
    let test = Test::new("one");
    let local = ControlChannel::create(&test.channel("b", "control"), Options::new()).unwrap();
    let mirror = Mirror { imports: vec!["control".into()], ..test.connects("b") };
    let error = mirror.run(&AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains(&format!("process {} of this machine writes it", std::process::id())), "{error}");
    drop(local);

    let mut writers =
        ["a", "c"].map(|side| ControlChannel::create(&test.channel(side, "control"), Options::new()).unwrap());
    let _m = Running::start(Mirror { imports: vec!["control".into()], ..test.listens("b") });
    let first = Running::start(Mirror { exports: exports(&["control"]), ..test.connects("a") });
    let there = test.channel("b", "control");
    until("the first is taken", || Observer::open(&there).is_ok_and(|channel| channel.look().has_writer));
    let mut reader = ControlChannel::open(&there, LONG).unwrap();
    let second = Running::start(Mirror { exports: exports(&["control"]), ..test.connects("c") });
    until("the second is refused", || test.figures("b", "control").is_some_and(|figures| figures.refused >= 1));
    let mut publish = || {
        writers[0].publish(control(1));
        writers[1].publish(control(2));
    };
    for _ in 0..20 {
        publish();
        assert_eq!(reader.wait(LONG), Wait::Fresh);
        assert_eq!(reader.take().unwrap().frame_id(), 1, "the first one's");
    }
    drop(first);
    until("the second is taken", || {
        publish();
        reader.wait(Duration::from_millis(20)) == Wait::Fresh && reader.take().unwrap().frame_id() == 2
    });
    drop(second);
}

#[test]
fn a_channel_that_is_replaced_by_one_of_another_type_is_another_one_here_too() {
    let test = Test::new("type");
    let name = test.channel("a", "thing");
    let first = ControlChannel::create(&name, Options::new()).unwrap();
    let _a = Running::start(Mirror { exports: exports(&["thing"]), ..test.listens("a") });
    let _b = Running::start(Mirror { imports: vec!["thing".into()], ..test.connects("b") });
    let there = test.channel("b", "thing");
    let is = |of: &str| AnyChannel::open(&there, Duration::ZERO).is_ok_and(|(what, _)| what.type_name() == of);
    until("a control", || is("lkas.Control"));
    drop(first);
    let mut second = Channel::<Wheel>::create(&name, Options::new()).unwrap();
    until("a wheel", || {
        second.publish(Wheel { rate: 1.0, timestamp: 0.0 });
        is("test.Wheel")
    });
    let mut reader = Channel::<Wheel>::open(&there, LONG).unwrap();
    until("a value", || {
        second.publish(Wheel { rate: 1.0, timestamp: 0.0 });
        reader.take().is_some()
    });
}

#[test]
fn what_makes_no_sense_is_said() {
    let test = Test::new("sense");
    let error = |mirror: Mirror| mirror.run(&AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error(test.listens("a")).contains("use --export or --import"));
    let twice = Mirror { imports: vec!["x".into()], exports: exports(&["x"]), ..test.listens("a") };
    assert!(error(twice).contains("x is mirrored twice"));
    let many = Mirror { imports: (0..17).map(|i| format!("x{i}")).collect(), ..test.listens("a") };
    assert!(error(many).contains("17 channels, expected at most 16"));
    let system = Mirror { system: "a/**".into(), imports: vec!["x".into()], ..test.listens("a") };
    assert!(error(system).contains("no name for a channel"));
    let nowhere = Mirror { network: Network::default(), imports: vec!["x".into()], ..test.listens("a") };
    assert!(error(nowhere).contains("use --listen or --connect"));
}
