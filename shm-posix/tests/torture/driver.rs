//! Sends the faults, restarts who was killed, and demands that everybody goes on.

use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::payload::Payloads;
use crate::process::Process;
use crate::random::Random;
use crate::report::Report;
use lkas_shm::{ChannelName, CreateError, OpenError, UnlinkError, clock, unlink};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// After this long without a fresh value somebody is stuck. Far more than a busy machine needs.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Faults between two times of rest, at which everybody must go on.
const FAULTS_IN_A_ROUND: u64 = 24;

/// How often a writer is suspended and continued to find it in the middle of a publish. That is a matter of a few dozen
/// nanoseconds, which instants chosen blindly rarely hit.
const AIMS: u32 = 200;

/// The writer's seat; the others are the readers'.
const WRITER: usize = 0;

/// One channel and its processes.
#[derive(Debug)]
struct Driver<'a, P> {
    name: &'a ChannelName,
    random: Random,
    seats: Vec<Option<Process>>,
    lives: u64,
    ledger: Ledger,
    figures: Figures,
    /// The channel's memory, to see where a writer was stopped.
    segment: Option<File>,
    payloads: PhantomData<P>,
}

/// Kills `kills` processes of a channel of `P`, prints what happened, and returns the number of all faults that were
/// survived. The channel is gone afterwards.
pub(crate) fn torture<P: Payloads>(name: &ChannelName, kills: u64, seed: u64) -> Result<u64, String> {
    let mut driver = Driver::<P> {
        name,
        random: Random::new(seed),
        seats: none::<P>(),
        lives: 0,
        ledger: Ledger::new(),
        figures: Figures::default(),
        segment: None,
        payloads: PhantomData,
    };
    let outcome = driver.run(kills);
    driver.figures.print(P::NAME, driver.ledger.values);
    // Dead processes use nothing: what is refused here is a role that did not end.
    driver.seats = none::<P>();
    let removed = remove(name);
    outcome.and(removed).map(|()| driver.figures.faults())
}

fn none<P: Payloads>() -> Vec<Option<Process>> {
    (0..=P::READERS).map(|_| None).collect()
}

fn remove(name: &ChannelName) -> Result<(), String> {
    let deadline = Instant::now() + STUCK_AFTER;
    loop {
        match unlink(name) {
            Ok(()) => return Ok(()),
            // Somebody looks into /proc at a process that just died.
            Err(UnlinkError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            Err(why) => return Err(format!("the channel can't be removed: {why}")),
        }
    }
}

impl<P: Payloads> Driver<'_, P> {
    fn run(&mut self, kills: u64) -> Result<(), String> {
        while self.figures.kills() < kills {
            for _ in 0..FAULTS_IN_A_ROUND {
                let pause = self.random.pause(P::PAUSE);
                std::thread::sleep(pause);
                self.fault()?;
                self.listen()?;
            }
            self.rest()?;
        }
        self.end()
    }

    /// One fault: whoever the seat belongs to is started, killed, suspended or continued.
    fn fault(&mut self) -> Result<(), String> {
        if self.random.one_in(16) {
            self.refuse_removal()?;
        }
        // The writer twice as often as each reader.
        let seat = (self.random.below(2 + P::READERS as u64) as usize).saturating_sub(1);
        let Some(process) = &mut self.seats[seat] else {
            self.start(seat, true);
            return Ok(());
        };
        let mut was_hit = false;
        if seat == WRITER && process.has_role && !process.is_suspended && self.random.one_in(2) {
            was_hit = self.aim();
        }
        let Some(process) = &mut self.seats[seat] else { return Ok(()) };
        let dies = match process.is_suspended {
            true if was_hit => !self.random.one_in(4),
            true => self.random.one_in(3),
            false => self.random.one_in(2),
        };
        if dies {
            self.kill(seat)?;
            if !self.random.one_in(4) {
                self.start(seat, true);
            }
        } else if process.is_suspended && !was_hit {
            process.go_on();
            self.figures.continued += 1;
        } else if was_hit || process.suspend() {
            self.figures.suspended += u64::from(!was_hit);
            if seat == WRITER {
                self.listen()?;
                self.refuse_second_writer()?;
            }
        }
        Ok(())
    }

    /// Suspends the writer again and again until it stands in the middle of a publish, and leaves it so. Where that does
    /// not succeed, it runs.
    fn aim(&mut self) -> bool {
        for _ in 0..AIMS {
            let Some(writer) = &mut self.seats[WRITER] else { return false };
            if !writer.suspend() {
                return false;
            }
            if mailboxes_differ(self.name, P::READERS, &mut self.segment) {
                self.figures.hit += 1;
                self.figures.suspended += 1;
                return true;
            }
            writer.go_on();
            self.figures.aimed += 1;
            // Not by spinning: the writer may be on this very core.
            std::thread::sleep(self.random.pause(Duration::from_micros(200)));
        }
        false
    }

    fn start(&mut self, seat: usize, may_leave: bool) {
        self.lives += 1;
        let (role, leaves) =
            if seat == WRITER { ("writer", may_leave && self.random.one_in(4)) } else { ("reader", false) };
        let seed = self.random.next();
        self.seats[seat] = Some(Process::start(role, P::NAME, self.name, self.lives, seed, leaves));
    }

    fn kill(&mut self, seat: usize) -> Result<(), String> {
        let Some(process) = &mut self.seats[seat] else { return Ok(()) };
        let status = process.kill();
        if !process.is_expected(status) {
            return Err(format!("{} was not killed, but ended with {status}", process.what));
        }
        if status.success() {
            // It was faster, and left. All that it had to say is in its pipe.
            self.listen_to(seat)?;
            self.figures.left += 1;
            self.seats[seat] = None;
            return Ok(());
        }
        self.figures.killed_suspended += u64::from(process.is_suspended);
        self.listen_to(seat)?;
        let Some(process) = self.seats[seat].take() else { return Ok(()) };
        if seat == WRITER {
            self.figures.writers_killed += 1;
            self.figures.without_role += u64::from(!process.has_role);
            self.figures.between_mailboxes += u64::from(mailboxes_differ(self.name, P::READERS, &mut self.segment));
        } else {
            self.figures.readers_killed += 1;
        }
        Ok(())
    }

    /// Takes in what all children report. One that ended by itself is missed at once.
    fn listen(&mut self) -> Result<(), String> {
        for seat in 0..self.seats.len() {
            let ended = self.listen_to(seat)?;
            let Some(process) = self.seats[seat].as_mut().filter(|_| ended) else { continue };
            let status = process.kill();
            if !(process.leaves && status.success()) {
                return Err(format!("{} ended by itself with {status}", process.what));
            }
            self.figures.left += 1;
            self.seats[seat] = None;
        }
        Ok(())
    }

    fn listen_to(&mut self, seat: usize) -> Result<bool, String> {
        let Some(process) = &mut self.seats[seat] else { return Ok(false) };
        let (reports, ended) = process.reports()?;
        for report in reports {
            match report {
                Report::Writing { sequence, tries } => {
                    self.ledger.took_over(process.life, sequence);
                    self.figures.tries += tries;
                    process.has_role = true;
                }
                Report::Reading { tries } => {
                    self.figures.tries += tries;
                    process.has_role = true;
                }
                Report::Taken(taken) => {
                    if taken.first <= process.last {
                        return Err(format!("{}: number {} after {}", process.what, taken.first, process.last));
                    }
                    (process.last, process.published, process.before) = (taken.last, taken.published, taken.before);
                    self.ledger.taken(taken);
                }
            }
        }
        Ok(ended)
    }

    /// Nobody removes what somebody uses, and looking disturbs nobody.
    fn refuse_removal(&mut self) -> Result<(), String> {
        if !self.seats.iter().flatten().any(|process| process.has_role && !process.leaves) {
            return Ok(());
        }
        self.figures.removals_refused += 1;
        match unlink(self.name) {
            Err(UnlinkError::InUse { .. }) => Ok(()),
            other => Err(format!("a channel in use is removed: {other:?}")),
        }
    }

    /// The name goes, as by `rm`: the writer moves, and the readers follow.
    fn remove_name(&mut self) -> Result<(), String> {
        let told_all = self.seats[WRITER + 1..].iter().flatten().map(|reader| reader.before).min();
        self.ledger.check(told_all.unwrap_or(0))?;
        let path = format!("/dev/shm/{}", self.name);
        std::fs::remove_file(&path).map_err(|why| format!("{path}: {why}"))?;
        self.segment = None;
        self.figures.names_removed += 1;
        let deadline = Instant::now() + STUCK_AFTER;
        while !std::path::Path::new(&path).exists() {
            if Instant::now() > deadline {
                return Err("the writer does not move".into());
            }
            self.listen()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        self.fresh_values_for_all()?;
        // Who was still at the old segment may have had an older value than who was at the new one.
        self.ledger.forget_recent();
        Ok(())
    }

    /// A suspended writer keeps its role.
    fn refuse_second_writer(&mut self) -> Result<(), String> {
        // One that leaves may have left already; one that has said nothing may not have come.
        let Some(process) = self.seats[WRITER].as_ref().filter(|process| process.has_role && !process.leaves) else {
            return Ok(());
        };
        match P::create(self.name, 0) {
            Err(CreateError::HasWriter { pid, .. }) if pid == process.id() => {}
            Err(why) => return Err(format!("a second writer was refused, but because: {why}")),
            Ok(_) => return Err(format!("a second writer while {} is suspended", process.what)),
        }
        self.figures.second_writers += 1;
        Ok(())
    }

    /// No faults for a while: the writer and those readers that are not suspended must go on, then all of them, and then
    /// all with a new writer, which is the recovery that is measured.
    fn rest(&mut self) -> Result<(), String> {
        if let Some(writer) = self.seats[WRITER].as_mut().filter(|writer| writer.is_suspended) {
            writer.go_on();
            self.figures.continued += 1;
        }
        self.fresh_values_for_all()?;
        for process in self.seats.iter_mut().flatten().filter(|process| process.is_suspended) {
            process.go_on();
            self.figures.continued += 1;
        }
        for seat in 0..self.seats.len() {
            if self.seats[seat].is_none() {
                self.start(seat, true);
            }
        }
        self.fresh_values_for_all()?;
        // By a writer that stays: one that leaves is followed by one that finds no name.
        if self.random.one_in(2) && self.seats[WRITER].as_ref().is_some_and(|writer| writer.has_role && !writer.leaves)
        {
            self.remove_name()?;
        }
        match P::open(self.name, Duration::ZERO) {
            Err(OpenError::NoPlace { places, .. }) if places == P::READERS => self.figures.further_readers += 1,
            Err(why) => return Err(format!("one reader more than there are places was refused, but because: {why}")),
            Ok(_) => return Err("one reader more than there are places".into()),
        }
        let killed_at = clock::now();
        self.kill(WRITER)?;
        self.start(WRITER, false);
        let successor = self.lives;
        self.fresh_values_for_all()?;
        let had_at = self.ledger.first_at(successor).ok_or("fresh values, but none of the only writer")?;
        self.figures.recoveries.push(Duration::from_nanos(had_at.saturating_sub(killed_at)));
        let told_all = self.seats[WRITER + 1..].iter().flatten().map(|reader| reader.before).min();
        self.ledger.check(told_all.unwrap_or(0))
    }

    /// Waits until each reader that runs has reported a value that was published from now on.
    fn fresh_values_for_all(&mut self) -> Result<(), String> {
        let from = clock::now();
        let deadline = Instant::now() + STUCK_AFTER;
        loop {
            self.listen()?;
            // One that left in good order has a successor as well.
            if self.seats[WRITER].is_none() {
                self.start(WRITER, true);
            }
            let runs = |process: &&Process| !process.is_suspended;
            let mut readers = self.seats[WRITER + 1..].iter().flatten().filter(runs);
            let Some(stuck) = readers.find(|reader| reader.published < from) else { return Ok(()) };
            if Instant::now() > deadline {
                let what = &stuck.what;
                return Err(format!("{what} has had no fresh value for {STUCK_AFTER:?}, the last is {}", stuck.last));
            }
            self.wait_for_reports();
        }
    }

    fn wait_for_reports(&self) {
        let processes = self.seats.iter().flatten();
        let mut pipes: Vec<_> = processes.map(|process| PollFd::new(process.pipe(), PollFlags::IN)).collect();
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        // However it ends, the caller looks again.
        let _ = rustix::event::poll(&mut pipes, Some(&second));
    }

    /// Everybody is killed; a new writer and new readers must get all roles, and go on where the dead stopped.
    fn end(&mut self) -> Result<(), String> {
        for seat in 0..self.seats.len() {
            self.kill(seat)?;
            // One that left instead is dropped here.
            self.seats[seat] = None;
        }
        self.ledger.check(u64::MAX)?;
        self.lives += 1;
        let mut writer = P::create(self.name, self.lives).map_err(|why| format!("no writer can follow: {why}"))?;
        let mut readers = Vec::new();
        for place in 0..P::READERS {
            readers.push(P::open(self.name, Duration::ZERO).map_err(|why| format!("no reader at {place}: {why}"))?);
        }
        self.ledger.took_over(self.lives, writer.sequence());
        self.ledger.check(u64::MAX)?;
        for _ in 0..100 {
            let sequence = writer.sequence() + 1;
            let mut loan = writer.loan();
            P::fill(&mut loan, sequence, self.lives, false);
            loan.publish();
            for reader in &mut readers {
                let value = reader.take().ok_or("a reader does not see what was just published")?;
                if P::check(&value, sequence)? != self.lives {
                    return Err(format!("number {sequence} is of another writer"));
                }
            }
        }
        Ok(())
    }
}

/// Whether the mailboxes name different slots: whoever puts the newest value there was stopped halfway. The place of the
/// mailboxes is that of the design document.
fn mailboxes_differ(name: &ChannelName, readers: usize, segment: &mut Option<File>) -> bool {
    if segment.is_none() {
        *segment = File::open(format!("/dev/shm/{name}")).ok();
    }
    let Some(segment) = segment else { return false };
    let current = |place: usize| {
        let mut word = [0; 4];
        segment.read_exact_at(&mut word, 4096 + 128 * place as u64).map(|()| word[0]).ok()
    };
    (1..readers).any(|place| current(place) != current(0))
}
