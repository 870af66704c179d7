//! `lkas play`: the values of a recording back into channels, for programs to work on as if live.

use super::lockstep;
use super::player::Player;
use super::reading::Recording;
use crate::Failure;
use crate::number::within;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_shm::clock;
use std::path::PathBuf;
use std::time::Duration;

/// What `lkas play` plays.
#[derive(Args, Clone, Debug)]
pub struct PlayOptions {
    /// The recording
    file: PathBuf,
    /// How fast: 2 is twice as fast as it was
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = rate, conflicts_with = "lockstep")]
    rate: f64,
    /// Begin again at the end, until the program shall end
    #[arg(long = "loop", conflicts_with = "lockstep")]
    repeat: bool,
    /// Begin so many seconds after the recording's beginning
    #[arg(long, default_value_t = 0.0, value_name = "S", value_parser = from)]
    from: f64,
    /// The channels to play, with commas between them; otherwise all but what processes say of themselves, in lockstep the
    /// camera's alone
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    topics: Vec<String>,
    /// Publish the next frame when detection has answered the last, with the times that were recorded
    #[arg(long)]
    lockstep: bool,
    /// What detection answers in lockstep, as a recording
    #[arg(long, short, value_name = "FILE", requires = "lockstep")]
    output: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    within(0.01..=100.0, text, "expected a factor, 0.01 to 100")
}

fn from(text: &str) -> Result<f64, String> {
    within(0.0..=1e9, text, "expected a number of seconds, 0 or more")
}

/// How long a rest goes on before it looks whether it shall end.
const SLICE: Duration = Duration::from_millis(50);

/// Plays until the recording or the program shall end.
///
/// # Errors
/// It is no recording, a channel has a writer already or can't be created, there is nothing to play, or in lockstep
/// detection does not answer.
pub fn play(system: &SystemOptions, options: &PlayOptions, stop: &Stop) -> Result<(), Failure> {
    if options.lockstep {
        let topics = if options.topics.is_empty() { vec![system.camera.clone()] } else { options.topics.clone() };
        let player = Player::new(system, topics, options.from);
        return lockstep::play(system, player, Recording::open(&options.file)?, &options.output, stop);
    }
    let mut player = Player::new(system, options.topics.clone(), options.from);
    loop {
        let mut recording = Recording::open(&options.file)?;
        round(&mut player, &mut recording, options.rate, stop)?;
        if player.played == 0 && !stop.is_set() {
            return Err(player.nothing(&recording));
        }
        if !options.repeat || stop.is_set() {
            return player.end(&recording);
        }
    }
}

/// Plays all of it once, in the times between which it was recorded.
fn round(player: &mut Player<'_>, recording: &mut Recording, rate: f64, stop: &Stop) -> Result<(), Failure> {
    // When the recording began, by its own time and by this machine's clock.
    let (mut first, mut start) = (None, None);
    while let Some(value) = recording.next().filter(|_| !stop.is_set()) {
        let first = *first.get_or_insert(value.time);
        if !player.is_wanted(&value, first) {
            continue;
        }
        // Before the clock of the recording starts: it takes its time.
        player.open(&value.source)?;
        let after = (value.time.saturating_sub(first) as f64 / rate) as u64;
        let due = *start.get_or_insert_with(|| clock::now().saturating_sub(after)) + after;
        while !stop.is_set() && clock::now() < due {
            std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())).min(SLICE));
        }
        // At the rate 1 the same for all values.
        let shift = i128::from(due) - i128::from(value.time);
        let published = u64::try_from(i128::from(value.published) + shift).unwrap_or(0);
        // Captures were stamped by the recorded clock, not since 1970.
        let seconds = (shift + recording.clock_offset()) as f64 * 1e-9;
        player.publish(&value, published, seconds)?;
    }
    Ok(())
}
