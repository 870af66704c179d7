//! A child as the driver has it.

use crate::report::{BYTES, Report};
use lkas_shm::ChannelName;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// A child process, killed at the end whatever happens.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pipe: ChildStdout,
    /// The start of a record whose rest has not come.
    rest: Vec<u8>,
    ended: bool,
    /// For people.
    pub(crate) what: String,
    pub(crate) is_suspended: bool,
    /// It has its role, and has said so.
    pub(crate) has_role: bool,
    /// The number of this life, which is in the values of a writer.
    pub(crate) life: u64,
    /// It may leave in good order.
    pub(crate) leaves: bool,
    /// The greatest number that it has reported.
    pub(crate) last: u64,
    /// When that was published, and the clock before it was taken.
    pub(crate) published: u64,
    pub(crate) before: u64,
}

impl Process {
    /// Starts a process in `role` on the channel `name`, from the driver's main thread: it dies with that one.
    pub(crate) fn start(role: &str, payload: &str, name: &ChannelName, life: u64, seed: u64, leaves: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program runs from a file"));
        let driver = std::process::id();
        command.args([role, payload, name.as_str()]);
        command.args([u64::from(driver), life, seed, u64::from(leaves)].map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process can be started");
        let pipe = child.stdout.take().expect("it was asked for");
        // The driver looks at all pipes and must not wait for one.
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).expect("pipes can do that");
        Self {
            child,
            pipe,
            rest: Vec::new(),
            ended: false,
            what: format!("{role} {life}"),
            is_suspended: false,
            has_role: false,
            life,
            leaves,
            last: 0,
            published: 0,
            before: 0,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn pipe(&self) -> &ChildStdout {
        &self.pipe
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        // The child is not reaped yet, so its number is nobody else's.
        rustix::process::kill_process(self.pid(), signal).expect("a child can be signalled");
    }

    /// Suspends it, and returns whether it is: it may have left before.
    pub(crate) fn suspend(&mut self) -> bool {
        self.signal(Signal::STOP);
        loop {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            match rustix::process::waitid(WaitId::Pid(self.pid()), options) {
                Ok(status) => {
                    self.is_suspended = status.is_some_and(|status| status.stopped());
                    return self.is_suspended;
                }
                Err(Errno::INTR) => {}
                Err(why) => panic!("can't wait for a child: {why}"),
            }
        }
    }

    pub(crate) fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.is_suspended = false;
    }

    /// Kills it, and returns how it ended: not by this where it was faster.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for")
    }

    /// Whether `status`, how it ended, is what the driver did to it.
    pub(crate) fn is_expected(&self, status: ExitStatus) -> bool {
        status.signal() == Some(Signal::KILL.as_raw()) || self.leaves && status.success()
    }

    /// The records that have come, and whether there can be no more. A record that is not all there is kept until its
    /// rest comes, and dropped if none does.
    pub(crate) fn reports(&mut self) -> Result<(Vec<Report>, bool), String> {
        let mut bytes = [0; 16 * 1024];
        while !self.ended {
            match self.pipe.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => self.rest.extend_from_slice(&bytes[..count]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(format!("{}: can't read what it reports: {why}", self.what)),
            }
        }
        let (records, rest) = self.rest.as_chunks::<BYTES>();
        let reports = records.iter().map(Report::read).collect::<Option<Vec<_>>>();
        let reports = reports.ok_or_else(|| format!("{} reports what is no record", self.what))?;
        self.rest = rest.to_vec();
        Ok((reports, self.ended))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that is reaped already is left alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
