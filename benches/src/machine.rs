//! The machine that the figures are from, and where and how urgently a process runs on it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::fs;
use std::sync::OnceLock;

/// What a figure means nothing without.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name and, where one is announced, the hypervisor.
    pub processor: String,
    /// How many processors this process may use.
    pub processors: usize,
    /// The kernel.
    pub kernel: String,
    /// The compiler.
    pub compiler: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |key: &str| {
            let line = info.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split(':').nth(1)).map_or("unknown".into(), |value| value.trim().to_owned())
        };
        let is_virtual = value("flags").split(' ').any(|flag| flag == "hypervisor");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let compiler = std::process::Command::new("rustc").arg("--version").output();
        Self {
            processor: value("model name") + if is_virtual { ", virtual machine" } else { "" },
            processors: processors().len(),
            kernel: format!("Linux {}", kernel.trim()),
            compiler: compiler.map_or("unknown".into(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned()),
        }
    }
}

/// The processors that this process might use when this was called first.
#[must_use]
pub fn processors() -> &'static [usize] {
    static PROCESSORS: OnceLock<Vec<usize>> = OnceLock::new();
    PROCESSORS.get_or_init(|| {
        let all = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)).collect()
    })
}

/// Keeps this thread on one processor. Says so where that fails: the figures are worth less then.
pub fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    if let Err(why) = sched_setaffinity(None, &set) {
        eprintln!("can't stay on processor {processor}: {why}");
    }
}

/// Whether there is but one processor, so that what needs two can't be measured. Says so.
#[must_use]
pub fn one_processor(what: &str) -> bool {
    let one = processors().len() < 2;
    if one {
        println!("{what} needs two processors, and there is one: left out");
    }
    one
}

/// Lets this thread run before all that is not urgent (SCHED_FIFO). Whether the system allows it.
#[must_use]
pub fn real_time() -> bool {
    let parameters = libc::sched_param { sched_priority: 50 };
    // SAFETY: a plain structure that the system copies.
    #[allow(unsafe_code)]
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    refused == 0
}
