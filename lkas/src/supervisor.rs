//! Child processes that are started, started again when they die, and stopped in good order.

use crate::Failure;
use crate::status::StatusWatch;
use crate::stop::PARENT;
use core::time::Duration;
use lkas_shm::ChannelName;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// What a process ends with when starting it again would not help: wrong options, a port in use, another system running.
pub const EXIT_UNUSABLE: u8 = 2;

/// How long a child that was asked to end may take.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The longest pause before a child is started again: one that is essential, and any other.
const LONGEST_PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// A child that lives for so long has started well.
const GOOD_START: Duration = Duration::from_secs(3);

/// A child that is there and has said nothing for so long is replaced: it is suspended, or stuck.
const SILENT: Duration = Duration::from_secs(2);

/// The same of a child whose status has lost its name: it looks once a second whether it has, and makes another.
const NAMELESS: Duration = Duration::from_secs(4);

/// The same of a child that has said nothing yet: on a busy machine a start takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A child that lived for so long is not one that dies at every start.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// What to run, and how soon to run it again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The process's name for people.
    pub name: &'static str,
    /// The subcommand of this program.
    pub arguments: Vec<String>,
    /// The pause before it is started again; doubled each time that it dies young.
    pub pause: Duration,
    /// Whether the vehicle needs it to drive: then it never has to wait for long.
    pub essential: bool,
    /// Where it says that it is well; none for a process that does not.
    pub status: Option<ChannelName>,
}

#[derive(Debug)]
struct Process {
    plan: Plan,
    state: State,
    pause: Duration,
    watch: Option<StatusWatch>,
    /// Whether it has run well before: then its options are right, whatever it ends with.
    proven: bool,
    /// Whether it has ended before.
    ended: bool,
}

impl Process {
    fn is_missing(&self) -> bool {
        match &self.state {
            // It may be one that ends at each start.
            State::Running { since, .. } => self.ended && since.elapsed() < GOOD_START,
            State::Dead { .. } | State::Ended => true,
        }
    }
}

#[derive(Debug)]
enum State {
    Running { child: Child, since: Instant, heard: Option<Instant>, replaced: bool },
    Dead { until: Instant },
    Ended,
}

/// Children of this process. Dropping it stops them.
#[derive(Debug)]
pub struct Supervisor {
    processes: Vec<Process>,
    restarts: u64,
}

impl Supervisor {
    /// Starts the processes, in order.
    ///
    /// # Errors
    /// This program can't be started again as a child.
    pub fn start(plans: Vec<Plan>) -> Result<Self, Failure> {
        let mut supervisor = Self { processes: Vec::new(), restarts: 0 };
        for plan in plans {
            let state = spawn(&plan)?;
            let pause = plan.pause;
            let watch = plan.status.clone().map(StatusWatch::new);
            supervisor.processes.push(Process { plan, state, pause, watch, proven: false, ended: false });
        }
        Ok(supervisor)
    }

    /// How often a process was started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The processes that have ended and not started well again: `without broker, viewer`; `None` where all are there.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let names: Vec<_> =
            self.processes.iter().filter(|process| process.is_missing()).map(|process| process.plan.name).collect();
        (!names.is_empty()).then(|| format!("without {}", names.join(", ")))
    }

    /// Whether process `pid` is a child that runs.
    #[must_use]
    pub fn runs(&self, pid: u64) -> bool {
        let is =
            |process: &Process| matches!(&process.state, State::Running { child, .. } if u64::from(child.id()) == pid);
        self.processes.iter().any(is)
    }

    /// Looks after the processes: notices who died, and starts again whoever's pause is over. To be called a few times a
    /// second or more.
    ///
    /// # Errors
    /// A process ended because it can't run at all; its own words say why.
    pub fn look(&mut self) -> Result<(), Failure> {
        for process in &mut self.processes {
            match &mut process.state {
                State::Running { child, since, heard, replaced } => {
                    process.proven |= since.elapsed() > GOOD_START;
                    let Some(status) = child.try_wait()? else {
                        // It takes its time to be gone.
                        let silent = silent_for(child, *since, heard, process.watch.as_mut()).filter(|_| !*replaced);
                        if let Some(age) = silent {
                            *replaced = true;
                            let (name, age) = (process.plan.name, age.as_secs_f32());
                            tracing::warn!("{name} has said nothing for {age:.1} s and is replaced");
                            // It may have ended by itself; the next look says so.
                            let _ = child.kill();
                        }
                        continue;
                    };
                    if status.code() == Some(EXIT_UNUSABLE.into()) && !process.proven {
                        process.state = State::Ended;
                        return Err(format!("{} can't run; see its message above", process.plan.name).into());
                    }
                    if since.elapsed() > LONG_LIFE {
                        process.pause = process.plan.pause;
                    }
                    process.ended = true;
                    let pause = process.pause;
                    let longest = LONGEST_PAUSE[usize::from(!process.plan.essential)];
                    tracing::warn!(
                        "{} {}; starting it again in {:.1} s",
                        process.plan.name,
                        ending(status),
                        pause.as_secs_f32()
                    );
                    process.state = State::Dead { until: Instant::now() + pause };
                    process.pause = (pause * 2).min(longest);
                }
                State::Dead { until } if Instant::now() >= *until => {
                    process.state = spawn(&process.plan)?;
                    self.restarts += 1;
                }
                State::Dead { .. } | State::Ended => {}
            }
        }
        Ok(())
    }

    /// Asks all processes to end, in the reverse order of their start, and ends those that don't.
    pub fn stop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            if let State::Running { child, .. } = &mut process.state {
                end(child, process.plan.name);
            }
            process.state = State::Ended;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// For how long a child has said nothing, where that is too long. A child that was not started long ago may be starting.
/// `heard`: when its status was last seen.
fn silent_for(
    child: &Child,
    since: Instant,
    heard: &mut Option<Instant>,
    watch: Option<&mut StatusWatch>,
) -> Option<Duration> {
    match watch?.look().filter(|seen| seen.is_alive) {
        Some(seen) if seen.status.process == u64::from(child.id()) => {
            *heard = Some(Instant::now());
            seen.age.filter(|age| *age > SILENT && since.elapsed() >= GOOD_START)
        }
        // Another process has the name, as of two viewers. That says nothing about this one.
        Some(_) => None,
        None => {
            let (from, limit) = heard.map_or((since, STARTS_WITHIN), |heard| (heard, NAMELESS));
            Some(from.elapsed()).filter(|age| *age > limit)
        }
    }
}

fn spawn(plan: &Plan) -> Result<State, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    // In a group of its own, so that Ctrl-C reaches this process alone, which then ends the others in order.
    command.args(&plan.arguments).stdin(Stdio::null()).process_group(0).env(PARENT, std::process::id().to_string());
    let child = command.spawn().map_err(|why| format!("can't start {}: {why}", plan.name))?;
    tracing::debug!("{} is process {}: {}", plan.name, child.id(), plan.arguments.join(" "));
    Ok(State::Running { child, since: Instant::now(), heard: None, replaced: false })
}

fn end(child: &mut Child, name: &str) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + END_WITHIN;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    tracing::warn!("{name} did not end within {} s and is killed", END_WITHIN.as_secs());
    let _ = child.kill();
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".into(),
    }
}
