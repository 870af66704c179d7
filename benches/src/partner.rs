//! The other process of a bench: the same program in another role.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROLE: &str = "LKAS_BENCHES_ROLE";
const PROCESSOR: &str = "LKAS_BENCHES_PROCESSOR";

/// How long the figures of a bench may take.
const FIGURES: Duration = Duration::from_secs(60);

/// The role that this process was started in, on the processor that it was given; `None` for the one that measures.
#[must_use]
pub fn role() -> Option<String> {
    let processor = std::env::var(PROCESSOR).ok().and_then(|processor| processor.parse().ok());
    processor.into_iter().for_each(crate::pin);
    std::env::var(ROLE).ok()
}

fn again(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args().skip(1)).env(ROLE, role);
    Ok(command)
}

/// A process that is killed when this is dropped. Should it end before, this process ends as well: it would wait for ever.
#[derive(Debug)]
pub struct Partner {
    child: Arc<Mutex<Child>>,
    id: u32,
    expected: Arc<AtomicBool>,
}

impl Partner {
    /// Starts this program in another role, on `processor`.
    ///
    /// # Errors
    /// It can't be started.
    ///
    /// # Panics
    /// Where it ends before it is dropped, this process ends.
    pub fn start(role: &str, processor: usize) -> io::Result<Self> {
        let mut command = again(role)?;
        command.env(PROCESSOR, processor.to_string());
        let child = {
            // SAFETY: one system call, which is allowed between fork and exec.
            #[allow(unsafe_code)]
            unsafe {
                command.pre_exec(|| {
                    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                    Ok(())
                })
            };
            Arc::new(Mutex::new(command.spawn()?))
        };
        let id = child.lock().expect("just made").id();
        let expected = Arc::new(AtomicBool::new(false));
        let (watched, is_expected) = (child.clone(), expected.clone());
        std::thread::spawn(move || {
            let mut ended_at = None;
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let ended = watched.lock().map(|mut child| child.try_wait());
                if is_expected.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(Ok(Some(status))) = ended {
                    // Who has done its part may end while this process works out the figures.
                    let since = ended_at.get_or_insert_with(Instant::now);
                    if !status.success() || since.elapsed() > FIGURES {
                        eprintln!("the other process ended with {status}, expected it to go on");
                        std::process::exit(1);
                    }
                }
            }
        });
        Ok(Self { child, id, expected })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.expected.store(true, Ordering::SeqCst);
        if let Ok(mut child) = self.child.lock() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The system calls that this program makes in `role` from its first getppid(2) to its second, by strace(1).
///
/// # Errors
/// strace is not there, or the program did not come as far.
pub fn system_calls(role: &str) -> Result<Vec<String>, String> {
    let log = std::env::temp_dir().join(format!("lkas-benches-{}.strace", std::process::id()));
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new("strace");
    command.arg("-o").arg(&log).arg(program).args(std::env::args().skip(1)).env(ROLE, role).stdout(Stdio::null());
    let status = command.status().map_err(|why| format!("can't run strace: {why}; apt-get install strace"))?;
    let text = std::fs::read_to_string(&log).map_err(|why| why.to_string())?;
    let _ = std::fs::remove_file(&log);
    let mut parts = text
        .split_inclusive('\n')
        .collect::<Vec<_>>()
        .split(|line| line.starts_with("getppid"))
        .map(<[_]>::to_vec)
        .collect::<Vec<_>>();
    if !status.success() || parts.len() != 3 {
        return Err(format!("strace ended with {status} and {} marks, expected 2", parts.len().saturating_sub(1)));
    }
    Ok(parts.swap_remove(1).into_iter().map(|line| line.trim_end().to_owned()).collect())
}
