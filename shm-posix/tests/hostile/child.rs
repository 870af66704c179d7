//! Child processes: this program again, in some role.

use crate::tally::Tally;
use lkas_shm::{ChannelName, clock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A test can't be made here, and why.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

pub(crate) type Outcome = Result<(), Skipped>;

/// How a child says that its test can't be made.
const SKIPPED: u8 = 77;

/// No turn of a child's loop takes nearly as long, whatever a slow machine does; else it hangs.
const HANGS: Duration = Duration::from_secs(10);

/// How much later than its timeout a call may return on a slow machine.
const MARGIN: Duration = Duration::from_secs(5);

pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Skipped(why)) => {
            print!("{why}");
            ExitCode::from(SKIPPED)
        }
    }
}

/// Makes one call that has to end in time.
pub(crate) fn timed<T>(limit: Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    let took = start.elapsed();
    assert!(took < limit + MARGIN, "a call that may take {limit:?} took {took:?}");
    result
}

/// When this process made its last turn, and whether it is to stop.
static SEEN: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// Ends this process by a signal when it hangs, and tells it when it is to stop: when its parent closes its input.
pub(crate) fn watch() {
    goes_on();
    std::thread::spawn(|| {
        let input = std::io::stdin();
        loop {
            let mut fds = [PollFd::new(&input, PollFlags::IN)];
            let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            if STOP.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            } else if poll(&mut fds, Some(&slice)) == Ok(1) {
                STOP.store(true, Ordering::Relaxed);
            }
            let silent = clock::now().saturating_sub(SEEN.load(Ordering::Relaxed));
            if Duration::from_nanos(silent) > HANGS {
                eprintln!("a child hangs");
                std::process::abort();
            }
        }
    });
}

/// Whether there is to be another turn.
pub(crate) fn goes_on() -> bool {
    SEEN.store(clock::now(), Ordering::Relaxed);
    !STOP.load(Ordering::Relaxed)
}

/// A child that plays its role until its input is closed; killed at the end whatever happens.
#[derive(Debug)]
pub(crate) struct Process {
    role: String,
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Process {
    pub(crate) fn start(role: &str, name: &ChannelName, seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program runs from a file"));
        command.args([role, name.as_str(), &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process can be started");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("it was asked for"));
        Self { role: role.to_owned(), child, input, output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the child says something.
    pub(crate) fn wait_for_word(&mut self) {
        let mut byte = [0];
        self.output.read_exact(&mut byte).expect("the child lives and speaks");
    }

    /// Fails where the child has ended already.
    pub(crate) fn must_live(&mut self) {
        if self.child.try_wait().expect("a child can be waited for").is_some() {
            let _ = self.end();
            panic!("the {} ended by itself", self.role);
        }
    }

    /// Tells it to stop, and returns what it said.
    pub(crate) fn stop(mut self) -> String {
        self.input = None;
        self.end().expect("this role needs nothing")
    }

    /// Waits for its end: by itself, and in good order.
    fn end(&mut self) -> Result<String, Skipped> {
        let mut said = String::new();
        // Its watchdog ends it if it hangs.
        self.output.read_to_string(&mut said).expect("it speaks UTF-8");
        let status = self.child.wait().expect("a child can be waited for");
        if status.code() == Some(SKIPPED.into()) {
            return Err(Skipped(said));
        }
        if !status.success() {
            panic!("the {} failed: {status}\n{said}", self.role);
        }
        Ok(said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that is reaped already is left alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test, or a part of one, in a process of its own. What that says is said here, but for the last line: the numbers of
/// its tally.
pub(crate) fn in_child(role: &str, name: &ChannelName) -> Outcome {
    let said = Process::start(role, name, 0).end()?;
    let (others, last) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim_end()));
    others.lines().for_each(|line| println!("{line}"));
    crate::tally::count(Tally::from_line(last));
    Ok(())
}
