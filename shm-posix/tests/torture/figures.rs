//! What happened under torture, to be printed.

use std::time::Duration;

/// Counts of faults and of what they met.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) writers_killed: u64,
    /// Of them, before they had reported that they have the role.
    pub(crate) without_role: u64,
    /// Of them, when some mailboxes named the newest value and some the one before.
    pub(crate) between_mailboxes: u64,
    pub(crate) readers_killed: u64,
    /// Suspensions that lasted until another fault or the next rest.
    pub(crate) suspended: u64,
    pub(crate) killed_suspended: u64,
    /// Short suspensions that did not find the writer in the middle of a publish.
    pub(crate) aimed: u64,
    /// Suspensions that did.
    pub(crate) hit: u64,
    pub(crate) continued: u64,
    /// Writers that ended in good order.
    pub(crate) left: u64,
    /// Writers that were refused, and readers.
    pub(crate) second_writers: u64,
    pub(crate) further_readers: u64,
    /// Removals of a channel in use that were refused, and names removed by force, after which the writer moved.
    pub(crate) removals_refused: u64,
    pub(crate) names_removed: u64,
    /// How often a role was still taken whose owner was dead.
    pub(crate) tries: u64,
    /// From each kill that was followed by nothing else.
    pub(crate) recoveries: Vec<Duration>,
}

impl Figures {
    pub(crate) fn kills(&self) -> u64 {
        self.writers_killed + self.readers_killed
    }

    /// A short suspension is one fault, although it is two signals.
    pub(crate) fn faults(&self) -> u64 {
        self.kills() + self.suspended + self.continued + self.aimed + self.names_removed
    }

    /// Prints all of it, for `values` that readers reported.
    pub(crate) fn print(&mut self, payload: &str, values: u64) {
        let Figures { writers_killed, without_role, between_mailboxes, readers_killed, .. } = *self;
        let Figures { suspended, killed_suspended, continued, left, tries, .. } = *self;
        let Figures { aimed, hit, second_writers, further_readers, .. } = *self;
        self.recoveries.sort_unstable();
        let middle = self.recoveries.get(self.recoveries.len() / 2).copied().unwrap_or_default();
        let rounds = self.recoveries.len();
        let longest = self.recoveries.last().copied().unwrap_or_default();
        println!("  {payload}:");
        println!("    killed       {} processes", self.kills());
        println!("      writers    {writers_killed}, {without_role} before they said that they have the role,");
        println!(
            "                 {between_mailboxes} in the middle of a publish: some mailboxes name it and some do not"
        );
        println!("      readers    {readers_killed}");
        println!("    suspended    {suspended}; {continued} of them continued, {killed_suspended} killed");
        println!(
            "    aimed        {hit} suspensions of writers at the middle of a publish, and {aimed} short ones that missed"
        );
        println!("    writers left {left} in good order, some of them while they were tortured");
        println!("    refused      {second_writers} second writers, {further_readers} readers too many");
        println!(
            "    names        {} removed under all of them, after which the writer moved; {} removals of the",
            self.names_removed, self.removals_refused
        );
        println!("                 channel in use refused");
        println!("    tries        {tries} for a role whose owner was just dead");
        println!("    values       {values} reported by readers");
        println!("    recovery     p50 {middle:.2?}, max {longest:.2?} of {rounds}: from a kill, through the start of");
        println!("                 a new process, until a reader has its first value");
    }
}
