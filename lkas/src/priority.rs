//! How a process gets the processor while others want it too.

use core::fmt;
use core::str::FromStr;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// What to ask the system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// How nice to be to others, -20 to 19: a larger share of the processor, or a smaller one.
    Nice(i8),
    /// Before everybody who has no such priority (SCHED_FIFO), 1 to 99.
    Fifo(u8),
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = match text.split_once(':') {
            Some(("nice", number)) => number.parse().ok().filter(|nice| (-20..=19).contains(nice)).map(Self::Nice),
            Some(("fifo", number)) => number.parse().ok().filter(|fifo| (1..=99).contains(fifo)).map(Self::Fifo),
            _ => None,
        };
        found.ok_or_else(|| "expected nice:N with N from -20 to 19, or fifo:N with N from 1 to 99".to_owned())
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nice(nice) => write!(f, "nice:{nice}"),
            Self::Fifo(fifo) => write!(f, "fifo:{fifo}"),
        }
    }
}

impl Priority {
    /// Asks the system for it, for this thread and those that it starts from now on. Where the system refuses, the
    /// process runs as any other and says so.
    pub fn take(self) {
        match self.ask() {
            Ok(()) => tracing::info!("priority {self}"),
            Err(why) => tracing::warn!("priority {self} is not allowed: {why}; {}", self.remedy()),
        }
    }

    fn ask(self) -> Result<(), String> {
        match self {
            Self::Nice(nice) => {
                let process = None;
                rustix::process::setpriority_process(process, nice.into()).map_err(|why| why.to_string())
            }
            Self::Fifo(fifo) => {
                let value = ThreadPriorityValue::try_from(fifo)?;
                let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
                set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy)
                    .map_err(|why| format!("{why:?}"))
            }
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Nice(_) => "run as root, or set LimitNICE in the unit file, or \"nice\" in /etc/security/limits.conf",
            Self::Fifo(_) => {
                "run as root, or set LimitRTPRIO in the unit file, or \"rtprio\" in /etc/security/limits.conf"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["nice:-10", "nice:19", "fifo:1", "fifo:99"] {
            assert_eq!(text.parse::<Priority>().unwrap().to_string(), text);
        }
        for text in ["", "nice", "nice:20", "nice:-21", "fifo:0", "fifo:100", "fifo:x", "idle:1", "10"] {
            assert!(text.parse::<Priority>().is_err(), "{text}");
        }
    }

    #[test]
    fn real_time_is_given_or_refused_with_a_remedy() {
        let outcome = std::thread::spawn(|| {
            let outcome = Priority::Fifo(7).ask();
            (outcome, std::fs::read_to_string("/proc/thread-self/stat").unwrap())
        });
        let (outcome, stat) = outcome.join().unwrap();
        // The real-time priority and the policy (1 is SCHED_FIFO) are fields 40 and 41 (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let expected = if outcome.is_ok() { ["7", "1"] } else { ["0", "0"] };
        assert_eq!(fields[37..39], expected, "{outcome:?}: {stat}");
        assert!(Priority::Fifo(7).remedy().contains("LimitRTPRIO"));
    }

    #[test]
    fn the_system_is_asked_and_gives_it() {
        // In a thread of its own: the tests beside it stay as they are. Everybody may be nicer.
        let nice = std::thread::spawn(|| {
            Priority::Nice(11).ask().unwrap();
            std::fs::read_to_string("/proc/thread-self/stat").unwrap()
        });
        let stat = nice.join().unwrap();
        // The nineteenth field (proc_pid_stat(5)); the first two end with the last bracket.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!(fields[16], "11", "{stat}");
    }
}
