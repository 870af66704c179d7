//! Processes that die at chosen points: a child is run instruction by instruction and killed after the first, the second,
//! and so on; whatever it left, those who come after it go on. Each operation is stopped at every system call that it
//! makes, and from there instruction by instruction, in strides that grow: quickly, or slowly with
//! `LKAS_CRASH_POINTS=many`, and not at all with `LKAS_CRASH_POINTS=all`.
//!
//! Without arguments this program runs the tests, with one those that have it in their name; with an operation and a name
//! it is a child of one.
#![allow(missing_docs)]

mod support;

use lkas_messages::{Control, ImageShape, PixelFormat};
use lkas_shm::{
    ChannelName, Contract, ControlChannel, ImageChannel, NameCheck, OpenError, Options, Reader, Verdict, Wait, Writer,
    unlink,
};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{LONG, NO_WAIT, control};

/// Whether more than some points are tried.
fn is_thorough() -> bool {
    std::env::var_os("LKAS_CRASH_POINTS").is_some()
}

/// The next instruction to be tried after the one given, counted from a system call.
fn next(instruction: u64) -> u64 {
    match std::env::var("LKAS_CRASH_POINTS").as_deref() {
        Ok("all") => instruction + 1,
        // A publish has that many: every one. Beyond, every fiftieth.
        Ok("many") => instruction + 1 + instruction / 1_000 * 50,
        Ok(other) => panic!("LKAS_CRASH_POINTS is {other}, expected many or all"),
        Err(_) => 7 * instruction + 1,
    }
}

/// So many instructions after a system call, nothing that others see is left to be done: there is no longer way between
/// two of them that touches shared memory.
const FAR: u64 = 2_500;

const OPTIONS: Options = {
    let memory = lkas_shm::Memory::new().prefault(true).lock(false).huge_pages(false);
    Options::new().readers(3).memory(memory)
};

const fn contract(period_ms: u64, max_age_ms: u64) -> Contract {
    match Contract::new(Duration::from_millis(period_ms), Duration::from_millis(max_age_ms)) {
        Ok(contract) => contract,
        Err(_) => panic!(),
    }
}

const OLD_CONTRACT: Contract = contract(1, 2);
const NEW_CONTRACT: Contract = contract(2, 4);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, operation, name] if operation.starts_with("do-") => child(operation, &name.parse().unwrap()),
        [_, filter] => tests(filter),
        _ => tests(""),
    }
}

/// The two marks between which a child is run step by step: it stops itself.
fn mark() {
    // SAFETY: raising a signal in this process; its parent traces it and lets it go on.
    assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0);
}

/// What a child does, between the marks and around them.
fn child(operation: &str, name: &ChannelName) {
    match operation {
        "do-create" => {
            mark();
            let writer = ControlChannel::create(name, OPTIONS).unwrap();
            mark();
            drop(writer);
        }
        "do-replace" => {
            let shape = ImageShape::new(8, 8, PixelFormat::Gray8).unwrap();
            mark();
            let writer = ImageChannel::create(name, shape, OPTIONS).unwrap();
            mark();
            drop(writer);
        }
        "do-promise" => {
            mark();
            let writer = ControlChannel::create(name, OPTIONS.contract(NEW_CONTRACT)).unwrap();
            mark();
            drop(writer);
        }
        "do-move" => {
            let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
            std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
            mark();
            assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
            mark();
        }
        "do-publish" => {
            let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
            let next = control(writer.sequence() + 1);
            mark();
            writer.publish(next);
            mark();
        }
        "do-close" => {
            let writer = ControlChannel::create(name, OPTIONS).unwrap();
            mark();
            drop(writer);
            mark();
        }
        "do-open" => {
            mark();
            let reader = ControlChannel::open(name, NO_WAIT).unwrap();
            mark();
            drop(reader);
        }
        "do-take" => {
            let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
            mark();
            let taken = reader.take().map(|control| control.is_whole());
            mark();
            assert_eq!(taken, Some(true));
        }
        "do-sleep" => {
            let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
            assert!(reader.take().is_some());
            mark();
            assert_eq!(reader.wait(std::time::Duration::from_micros(50)), Wait::TimedOut);
            mark();
        }
        other => panic!("there is no operation {other}"),
    }
}

/// A child that is traced by this process, and killed at the end whatever happens.
struct Traced(Child);

/// How a traced child stopped.
#[derive(PartialEq, Eq, Debug)]
enum Stopped {
    Mark,
    Step,
    Ended,
}

impl Traced {
    /// Starts the child and lets it run to its first mark.
    fn start(operation: &str, name: &ChannelName) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([operation, name.as_str()]).stdin(Stdio::null());
        let trace_me = || {
            // SAFETY: between fork and exec only this system call is made; it takes no pointer.
            match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure makes one system call and touches no memory.
        unsafe { command.pre_exec(trace_me) };
        let traced = Self(command.spawn().expect("a child can be traced (ptrace must be allowed)"));
        // Stopped by the kernel once, when the program is loaded.
        assert_eq!(traced.wait(), Stopped::Step);
        while traced.go_on(libc::PTRACE_CONT) != Stopped::Mark {}
        traced
    }

    fn id(&self) -> libc::pid_t {
        self.0.id().cast_signed()
    }

    fn go_on(&self, how: libc::c_uint) -> Stopped {
        // SAFETY: the child is stopped and traced by this thread; no memory of this process is touched.
        let result = unsafe { libc::ptrace(how, self.id(), 0, 0) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        self.wait()
    }

    fn wait(&self) -> Stopped {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let waited = unsafe { libc::waitpid(self.id(), &raw mut status, 0) };
        assert_eq!(waited, self.id(), "{}", std::io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child failed: {status:#x}");
            return Stopped::Ended;
        }
        match libc::WSTOPSIG(status) {
            libc::SIGSTOP => Stopped::Mark,
            libc::SIGTRAP => Stopped::Step,
            signal => panic!("the child was stopped by signal {signal}"),
        }
    }

    /// Lets the child do `count` steps; whether it has not come to its second mark.
    fn steps(&self, how: libc::c_uint, count: u64) -> bool {
        (0..count).all(|_| self.go_on(how) == Stopped::Step)
    }

    /// Whether the next instruction is a system call, as far as this processor is known here.
    fn is_at_call(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            const CALL: libc::c_long = 0x050f;
            let at = core::mem::offset_of!(libc::user_regs_struct, rip);
            // SAFETY: the child is stopped; a word of its registers is copied.
            let place = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.id(), at, 0) };
            // SAFETY: the child is stopped; a word of its memory is copied.
            let instruction = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.id(), place, 0) };
            instruction & 0xffff == CALL
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `operation` again and again, killed at one point after the other. `before` prepares what it finds and `after`
/// sees whether the others go on.
fn at_every_point<S>(
    operation: &str,
    name: &ChannelName,
    before: impl Fn(&ChannelName) -> S,
    after: impl Fn(&ChannelName, S),
) {
    // Kills after so many stops at system calls, and then so many instructions.
    let trial = |calls, instructions| {
        let prepared = before(name);
        let child = Traced::start(operation, name);
        let there = child.steps(libc::PTRACE_SYSCALL, calls) && child.steps(libc::PTRACE_SINGLESTEP, instructions);
        child.kill();
        after(name, prepared);
        unlink(name).expect("nobody uses it any more");
        there
    };
    // How many instructions there are from a stop at a system call to the next call, where others begin.
    let way = |calls| {
        if !is_thorough() {
            return FAR;
        }
        let prepared = before(name);
        let child = Traced::start(operation, name);
        let there = child.steps(libc::PTRACE_SYSCALL, calls);
        let count = if there {
            (0..FAR).take_while(|_| !child.is_at_call() && child.steps(libc::PTRACE_SINGLESTEP, 1)).count()
        } else {
            0
        };
        child.kill();
        drop(prepared);
        unlink(name).expect("nobody uses it any more");
        count as u64
    };
    let (mut tried, mut calls) = (0_u64, 0);
    // From one stop at a system call to the next. A stop at the mark ends the operation.
    while trial(calls, 0) {
        let far = way(calls);
        let mut instructions = 1;
        while instructions <= far && trial(calls, instructions) {
            tried += 1;
            instructions = next(instructions);
        }
        tried += 1;
        // Both sides of a call are alike where nothing happens in between; the operation goes on after the second.
        calls += 1;
    }
    println!("    {operation}: killed at {tried} points, {calls} of them at system calls");
    assert!(tried > 10, "{operation} did something");
}

/// A channel with a value in it, left by a writer that is gone, and two readers: one is up to date, one is not.
struct Readers {
    current: Reader<Control>,
    lagging: Reader<Control>,
    had: u64,
}

fn two_readers(name: &ChannelName) -> (Writer<Control>, Readers) {
    let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
    let mut current = ControlChannel::open(name, NO_WAIT).unwrap();
    let lagging = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    writer.publish(control(2));
    let had = current.take().unwrap().sequence();
    // Asleep, as far as the channel knows, so that a publish also wakes.
    assert_eq!(current.wait(std::time::Duration::from_nanos(1)), Wait::TimedOut);
    (writer, Readers { current, lagging, had })
}

/// A successor publishes, and both readers get what it published, whole.
fn a_successor_goes_on(name: &ChannelName, mut readers: Readers) {
    let mut seen = readers.had;
    // What the dead one published just now may be there.
    if let Some(control) = readers.current.take() {
        assert!(control.is_whole() && control.sequence() > seen);
        assert_eq!(control.frame_id(), control.sequence(), "header and value of different publishes");
        seen = control.sequence();
    }
    let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
    assert!(writer.sequence() >= seen, "a reader has had {seen}, and the successor goes on from {}", writer.sequence());
    for reader in [&mut readers.current, &mut readers.lagging] {
        let found = reader.latest().map(|control| control.sequence());
        assert_eq!(found, Some(writer.sequence()), "a publish that was half done is finished, or was never seen");
    }
    for _ in 0..4 {
        let next = writer.sequence() + 1;
        writer.publish(control(next));
        for reader in [&mut readers.current, &mut readers.lagging] {
            let control = reader.take().expect("something new");
            assert!(control.is_whole());
            assert_eq!((control.sequence(), control.frame_id()), (next, next));
        }
    }
}

/// The writer publishes, and a new reader finds a place and gets what is newest.
fn a_reader_can_come(name: &ChannelName, (mut writer, mut readers): (Writer<Control>, Readers)) {
    let mut newcomer = ControlChannel::open(name, NO_WAIT).expect("the place of the dead one is free");
    for _ in 0..4 {
        let next = writer.sequence() + 1;
        writer.publish(control(next));
        for reader in [&mut readers.current, &mut readers.lagging, &mut newcomer] {
            let control = reader.take().expect("something new");
            assert!(control.is_whole());
            assert_eq!((control.sequence(), control.frame_id()), (next, next));
        }
    }
}

fn create(name: &ChannelName) {
    at_every_point(
        "do-create",
        name,
        |name| assert!(matches!(ControlChannel::open(name, NO_WAIT), Err(OpenError::NoSuchChannel { .. }))),
        |name, ()| {
            // All of it, or nothing.
            match ControlChannel::open(name, NO_WAIT) {
                Ok(mut reader) => assert!(reader.take().is_none() && !reader.has_writer()),
                Err(why) => assert!(matches!(why, OpenError::NoSuchChannel { .. }), "{why}"),
            }
            let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
            let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
            writer.publish(control(1));
            assert!(reader.take().is_some_and(|control| control.is_whole()));
        },
    );
}

fn take_over(name: &ChannelName) {
    at_every_point("do-create", name, |name| two_readers(name).1, a_successor_goes_on);
}

fn publish(name: &ChannelName) {
    at_every_point("do-publish", name, |name| two_readers(name).1, a_successor_goes_on);
}

fn close(name: &ChannelName) {
    at_every_point("do-close", name, |name| two_readers(name).1, a_successor_goes_on);
}

fn replace(name: &ChannelName) {
    at_every_point(
        "do-replace",
        name,
        |name| two_readers(name).1,
        |name, mut readers| {
            // The old one as it was, or retired; never something between.
            let retired = readers.current.is_retired();
            if !retired {
                assert_eq!(readers.lagging.latest().map(|control| control.frame_id()), Some(2));
            }
            let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
            let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
            writer.publish(control(writer.sequence() + 1));
            assert!(reader.take().is_some_and(|control| control.is_whole()));
            if retired {
                assert_eq!(readers.current.wait(LONG), Wait::Closed, "nobody waits for what was replaced");
            } else {
                // Still the same channel, or one that lost its name and its writer, which a reader finds out by waiting.
                let same = readers.current.take().is_some();
                let mut hears_of_it = || readers.current.wait(LONG) == Wait::Closed && readers.current.is_retired();
                assert!(
                    same || (0..2).any(|_| hears_of_it()),
                    "first that the writer left, then that the name is gone"
                );
            }
        },
    );
}

/// A successor that promises something else: its contract is the old one or the new one, and what is old is never fresh.
fn promise(name: &ChannelName) {
    at_every_point(
        "do-promise",
        name,
        |name| {
            let (writer, readers) = two_readers(name);
            drop(writer);
            drop(ControlChannel::create(name, OPTIONS.contract(OLD_CONTRACT)).unwrap());
            readers
        },
        |name, mut readers| {
            let found = readers.current.contract().expect("never nonsense");
            assert!(found == Some(OLD_CONTRACT) || found == Some(NEW_CONTRACT), "{found:?}");
            std::thread::sleep(NEW_CONTRACT.period());
            let verdict = readers.current.read().verdict();
            assert_eq!(verdict, Some(Verdict::WriterGone), "nobody is there, and the next is overdue");
            drop(ControlChannel::create(name, OPTIONS.contract(NEW_CONTRACT)).unwrap());
            assert_eq!(readers.current.contract(), Ok(Some(NEW_CONTRACT)));
        },
    );
}

/// A writer that lost its name and moves: whoever comes after it has a channel that works, and whoever reads the old segment
/// gets to know that nothing will come.
fn move_(name: &ChannelName) {
    at_every_point(
        "do-move",
        name,
        |name| two_readers(name).1,
        |name, mut readers| {
            let mut writer = ControlChannel::create(name, OPTIONS).unwrap();
            let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
            writer.publish(control(writer.sequence() + 1));
            let newest = reader.take().map(|control| (control.is_whole(), control.frame_id() == control.sequence()));
            assert_eq!(newest, Some((true, true)));
            let old = readers.current.latest().map(|control| control.sequence());
            assert_eq!(old, Some(readers.had));
            let mut hears_of_it = || readers.current.wait(LONG) == Wait::Closed && readers.current.is_retired();
            assert!((0..2).any(|_| hears_of_it()), "nobody waits for a segment without name and writer");
        },
    );
}

fn open(name: &ChannelName) {
    at_every_point("do-open", name, two_readers, a_reader_can_come);
}

fn take(name: &ChannelName) {
    at_every_point("do-take", name, two_readers, a_reader_can_come);
}

fn sleep(name: &ChannelName) {
    at_every_point("do-sleep", name, two_readers, a_reader_can_come);
}

fn tests(filter: &str) {
    type Test = fn(&ChannelName);
    let tests: [(&str, Test); 10] = [
        ("create", create),
        ("take_over", take_over),
        ("publish", publish),
        ("close", close),
        ("replace", replace),
        ("promise", promise),
        ("move", move_),
        ("open", open),
        ("take", take),
        ("sleep", sleep),
    ];
    let mut passed = 0;
    for (test, run) in tests.into_iter().filter(|(test, _)| test.contains(filter)) {
        println!("test a_process_may_die_at_any_point_of_{test} ...");
        let name = ChannelName::new(&format!("test-{}", std::process::id()), test).unwrap();
        let result = std::panic::catch_unwind(|| run(&name));
        let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        if let Err(cause) = result {
            println!("test a_process_may_die_at_any_point_of_{test} ... FAILED");
            std::panic::resume_unwind(cause);
        }
        println!("test a_process_may_die_at_any_point_of_{test} ... ok");
        passed += 1;
    }
    println!("{passed} passed, 0 failed");
}
