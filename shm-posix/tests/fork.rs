//! Forks: handles end with the process that made them, and so do its roles, also where a child lives on.
//!
//! Each test runs in a process of its own, which has one thread unless the test makes more: this program is its own child.
#![allow(missing_docs)]

mod support;

use lkas_messages::Control;
use lkas_shm::{
    ChannelName, ControlChannel, CreateError, Feed, Loan, Observer, OpenError, OpenOptions, Options, PollReader, Wait,
    unlink,
};
use std::io::{BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use support::{LONG, NO_WAIT, Name, control};

type Test = fn(&ChannelName);

const TESTS: &[(&str, Test)] = &[
    ("handles_are_dead_in_a_child_and_the_parent_goes_on", handles_are_dead),
    ("a_loan_in_a_child_writes_nowhere", loans_are_dead),
    ("dropping_in_a_child_unmaps_nothing_of_its_own", dropping_unmaps_nothing),
    ("a_child_can_use_the_channel_by_handles_of_its_own", a_child_opens_anew),
    ("a_role_ends_with_its_process_while_a_child_lives_on", a_role_ends_with_its_process),
    ("a_role_ends_with_its_process_while_a_program_lives_on", a_role_ends_after_exec),
    ("a_process_with_threads_may_fork", threads_and_forks),
    ("a_watched_reader_in_a_child_disturbs_nobody", watched_readers),
    ("where_the_system_has_no_thread_everybody_who_is_watched_is_told", no_thread),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [_, role, name] if role == "--holder" || role == "--executor" => {
            hold(role, &name.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        [_, role, name] if role == "--without-threads" => {
            without_threads(&name.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        [_, only, test] if only == "--only" => {
            let (_, run) = TESTS.iter().find(|(name, _)| name == test).expect("a test");
            let Name(name) = &Name::new(test);
            run(name);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let filter = arguments.iter().skip(1).find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    let mut failed = 0;
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| name.contains(&filter)).collect();
    for (test, _) in &chosen {
        let passed = itself(&["--only", test]).status().is_ok_and(|status| status.success());
        println!("test {test} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!("{} passed, {failed} failed", chosen.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn itself(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    command
}

/// Forks; the child does `work` and ends. Returns its number.
fn fork(work: impl FnOnce()) -> i32 {
    // SAFETY: the child touches nothing of other threads but what is safe to use after a fork, which is what is tested.
    match unsafe { libc::fork() } {
        0 => {
            let good = catch_unwind(AssertUnwindSafe(work)).is_ok();
            // SAFETY: ends the child at once, without running what belongs to its parent.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
        child => child,
    }
}

/// Waits for a child, and says whether it ended well.
fn ended_well(child: i32) -> bool {
    let mut status = 0;
    // SAFETY: `status` is a place for one.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// The message with which `work` panics.
fn panic_of(work: impl FnOnce()) -> String {
    // It is expected, and need not be printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let why = catch_unwind(AssertUnwindSafe(work)).expect_err("it must panic");
    std::panic::set_hook(hook);
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

fn handles_are_dead(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let reader = ControlChannel::open(name, NO_WAIT).unwrap();
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    assert!(feed.find(NO_WAIT).unwrap());
    let observer = Observer::open(name).unwrap();
    writer.publish(control(1));
    let mut handles = Some((writer, reader, feed, observer));
    let child = fork(|| {
        let (mut writer, mut reader, mut feed, observer) = handles.take().unwrap();
        assert!(writer.is_forked() && reader.is_forked());
        for said in [
            panic_of(|| writer.publish(control(99))),
            panic_of(|| drop(writer.loan())),
            panic_of(|| drop(writer.check_name())),
            panic_of(|| assert!(reader.take().is_none())),
            panic_of(|| assert!(reader.latest().is_none())),
            panic_of(|| drop(reader.read())),
            panic_of(|| drop(reader.latest_within(LONG))),
            panic_of(|| assert!(reader.has_fresh())),
            panic_of(|| assert_eq!(reader.wait(NO_WAIT), Wait::TimedOut)),
            panic_of(|| assert_eq!(reader.spin(NO_WAIT), Wait::TimedOut)),
            panic_of(|| assert!(reader.is_closed())),
            panic_of(|| assert!(observer.newest().is_err())),
            panic_of(|| drop(observer.look())),
        ] {
            assert!(said.contains("a forked process") && said.contains("create or open the channel again"), "{said}");
        }
        assert_eq!(feed.find(NO_WAIT), Err(OpenError::Forked { name: name.clone() }));
        drop((writer, reader, feed, observer));
    });
    assert!(ended_well(child));
    let (mut writer, mut reader, mut feed, observer) = handles.take().unwrap();
    assert!(!reader.is_closed(), "what the child dropped closed nothing");
    let taken = ControlChannel::create(name, Options::new().grace(NO_WAIT)).map(drop);
    assert!(matches!(taken, Err(CreateError::HasWriter { .. })), "the role is still this process's: {taken:?}");
    writer.publish(control(2));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(2));
    assert_eq!(feed.next(NO_WAIT).unwrap().map(|control| control.frame_id()), Some(2));
    assert_eq!(observer.newest().unwrap().map(|newest| newest.sequence), Some(2));
}

fn loans_are_dead(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    type Use = for<'w> fn(Loan<'w, Control>);
    let uses: [Use; 4] = [
        |loan| loan.publish(),
        |loan| loan.publish_at(1),
        |loan| assert_eq!(loan.frame_id(), 1),
        |mut loan| *loan = control(99),
    ];
    for (number, use_it) in uses.into_iter().enumerate() {
        let mut loan = Some(writer.loan());
        let child = fork(|| {
            let loan = loan.take().unwrap();
            let said = panic_of(|| use_it(loan));
            assert!(said.contains("a forked process"), "{said}");
        });
        assert!(ended_well(child), "use {number}");
        let mut loan = loan.take().unwrap();
        *loan = control(number as u64);
        loan.publish();
        assert_eq!(reader.take().map(|control| control.frame_id()), Some(number as u64), "the parent goes on");
    }
}

fn dropping_unmaps_nothing(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    let mut handles = Some((writer, reader));
    let child = fork(|| {
        // The child's own memory takes the addresses that it did not inherit.
        let mut pages: Vec<Vec<u8>> = Vec::new();
        let mut mapped = Vec::new();
        for _ in 0..200 {
            let page = map_page();
            // SAFETY: a page of this process's own.
            unsafe { page.write_bytes(0x5a, 4096) };
            mapped.push(page);
        }
        drop(handles.take());
        for page in mapped {
            // SAFETY: mapped above, and a fault here is what the test is about.
            pages.push(unsafe { core::slice::from_raw_parts(page, 4096) }.to_vec());
        }
        assert!(pages.iter().flatten().all(|byte| *byte == 0x5a));
    });
    assert!(ended_well(child), "its own memory went with the handles");
    (writer, reader) = handles.take().unwrap();
    writer.publish(control(2));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(2), "the parent goes on");
    assert!(!reader.is_closed());
}

fn map_page() -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the system chooses the address.
    let page = unsafe { libc::mmap(core::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    page.cast()
}

fn a_child_opens_anew(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let child = fork(|| {
        let why = ControlChannel::create(name, Options::new().grace(NO_WAIT)).map(drop).unwrap_err();
        // SAFETY: it can't fail.
        let parent = unsafe { libc::getppid() } as u32;
        assert_eq!(why, CreateError::HasWriter { name: name.clone(), pid: parent, same_namespace: true });
        let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
        assert_eq!(reader.wait(LONG), Wait::Fresh);
        assert_eq!(reader.take().map(|control| control.frame_id()), Some(1));
        // And a fork of the fork.
        let grandchild = fork(|| {
            assert!(reader.is_forked());
            assert_eq!(ControlChannel::open(name, NO_WAIT).unwrap().take().map(|control| control.frame_id()), Some(1));
        });
        assert!(ended_well(grandchild));
        assert!(!reader.is_forked());
    });
    writer.publish(control(1));
    assert!(ended_well(child));
    assert!(!writer.is_forked());
}

/// Takes a writer's role and a reader's place, has a child that lives on, and waits to be killed.
fn hold(role: &str, name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new().readers(1)).unwrap();
    let _reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    let child = if role == "--executor" {
        let program = c"/bin/sleep";
        fork(|| {
            // SAFETY: the arguments end with a null pointer.
            unsafe { libc::execl(program.as_ptr(), program.as_ptr(), c"600".as_ptr(), core::ptr::null::<i8>()) };
            panic!("no {program:?}");
        })
    } else {
        fork(|| std::thread::sleep(Duration::from_secs(600)))
    };
    println!("{child}");
    std::thread::sleep(Duration::from_secs(600));
}

/// A holder, and the child that outlives it.
struct Holder {
    process: Child,
    child: i32,
}

impl Holder {
    fn start(role: &str, name: &ChannelName) -> Self {
        let mut process = itself(&[role, name.as_str()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap().by_ref()).read_line(&mut line).unwrap();
        Self { process, child: line.trim().parse().unwrap() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // SAFETY: a process that this test made.
        unsafe { libc::kill(self.child, libc::SIGKILL) };
    }
}

fn succeeds(role: &str, name: &ChannelName) {
    let mut holder = Holder::start(role, name);
    let taken = CreateError::HasWriter { name: name.clone(), pid: holder.process.id(), same_namespace: true };
    assert_eq!(ControlChannel::create(name, Options::new().readers(1).grace(NO_WAIT)).map(drop), Err(taken));
    let full = OpenError::NoPlace { name: name.clone(), places: 1, reserved: 0 };
    assert_eq!(ControlChannel::open(name, OpenOptions::new().grace(NO_WAIT)).map(drop), Err(full));
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    // SAFETY: asks whether the process is there, and nothing else.
    assert_eq!(unsafe { libc::kill(holder.child, 0) }, 0, "the child lives on");
    let mut writer = ControlChannel::create(name, Options::new().readers(1).grace(LONG)).unwrap();
    let mut reader = ControlChannel::open(name, OpenOptions::new().grace(LONG)).unwrap();
    assert_eq!(writer.sequence(), 1, "the same segment, and its sequence goes on");
    writer.publish(control(2));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(2));
}

fn a_role_ends_with_its_process(name: &ChannelName) {
    succeeds("--holder", name);
}

fn a_role_ends_after_exec(name: &ChannelName) {
    succeeds("--executor", name);
}

fn threads_and_forks(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // One publishes, two open and close all the time: a fork meets them in the middle of it.
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let next = writer.sequence() + 1;
                writer.publish(control(next));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
                    if let Some(control) = reader.take() {
                        assert!(control.is_whole() && control.frame_id() == control.sequence());
                    }
                }
            });
        }
        for _ in 0..200 {
            let child = fork(|| {
                // Were a lock held here that its thread took along, this would never end.
                // SAFETY: a time after which the child is killed.
                unsafe { libc::alarm(60) };
                let mut reader = ControlChannel::open(name, OpenOptions::new().grace(LONG)).unwrap();
                assert_eq!(reader.wait(LONG), Wait::Fresh);
                let control = reader.take().unwrap();
                assert!(control.is_whole() && control.frame_id() == control.sequence());
            });
            assert!(ended_well(child));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn watched_readers(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let mut reader = PollReader::new(ControlChannel::open(name, NO_WAIT).unwrap()).unwrap();
    reader.arm();
    let readable = |reader: &PollReader<_>| {
        let mut descriptors = [rustix::event::PollFd::new(reader, rustix::event::PollFlags::IN)];
        let timeout = rustix::time::Timespec { tv_sec: LONG.as_secs() as i64, tv_nsec: 0 };
        rustix::event::poll(&mut descriptors, Some(&timeout)).unwrap() == 1
    };
    let mut handle = Some(reader);
    let child = fork(|| {
        let mut inherited = handle.take().unwrap();
        let said = panic_of(|| inherited.arm());
        assert!(said.contains("a forked process"), "{said}");
        drop(inherited);
        // One of its own works, by a thread of its own.
        let mut own = PollReader::new(ControlChannel::open(name, NO_WAIT).unwrap()).unwrap();
        own.arm();
        assert!(readable(&own) && own.take().is_some());
    });
    reader = handle.take().unwrap();
    writer.publish(control(1));
    assert!(readable(&reader), "its thread is still there");
    assert!(reader.take().is_some());
    assert!(ended_well(child));
    drop((reader, writer));
    unlink(name).unwrap();
}

fn no_thread(name: &ChannelName) {
    // Larger than what a process can address: a thread that does not say what it needs can't be had.
    let status =
        itself(&["--without-threads", name.as_str()]).env("RUST_MIN_STACK", (1_u64 << 48).to_string()).status();
    assert!(status.unwrap().success());
}

fn without_threads(name: &ChannelName) {
    const THREADS: usize = 8;
    let _writer = ControlChannel::create(name, Options::new().readers(THREADS)).unwrap();
    let together = std::sync::Barrier::new(THREADS);
    let unwatched = std::sync::atomic::AtomicUsize::new(0);
    let watch = || {
        for _ in 0..500 {
            let reader = ControlChannel::open(name, LONG).unwrap();
            together.wait();
            let nobody_watches = PollReader::new(reader).is_ok();
            unwatched.fetch_add(nobody_watches.into(), std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            std::thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, watch).unwrap();
        }
    });
    assert_eq!(unwatched.into_inner(), 0, "readers that nobody watches");
}
