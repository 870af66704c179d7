//! Channels of a lane keeping assist system on several machines, mirrored over [Zenoh](https://zenoh.io).
//!
//! Use it when the processes of one system run on more than one machine, and each needs the newest value of what another
//! one makes. Do not use it between processes of one machine, which share memory already, nor where every value has to
//! arrive.
//!
//! ```no_run
//! use lkas_mirror::{Mirror, Network};
//! use std::sync::atomic::AtomicBool;
//!
//! // On the computer with the camera: the frames go out, the controls come in.
//! let mirror = Mirror {
//!     exports: vec!["camera_feed:jpeg=85".parse()?],
//!     imports: vec!["vehicle_control".to_owned()],
//!     network: Network { listen: vec!["tcp/192.168.1.5:7447".to_owned()], ..Network::default() },
//!     ..Mirror::default()
//! };
//! let stop = AtomicBool::new(false); // set by whoever wants it to end
//! mirror.run(&stop)?;
//! # Ok::<(), lkas_mirror::Failure>(())
//! ```
//!
//! # Guarantees
//! - A mirrored channel is a channel: its name, type, shape, fields and promise are those of the original.
//! - The newest value only: nothing queues, and of large values one at a time is on its way to each importer.
//! - No value is older than it seems: the age is the upper bound that the round trips between the clocks allow. Where
//!   they allow none, nothing is published, and what was published grows old.
//! - What arrives is checked before anybody sees it. What is refused is counted, and the reason is said.
//! - There is one writer: importing where another one lives is an error.
//!
//! # Costs
//! A thread for each channel, one for each importer of it, and those of Zenoh. A value is copied once on its way out and
//! once on its way in, beside what Zenoh copies.
//!
//! # Limits
//! 16 channels for each mirror, values of up to 64 MiB. What is a time of the machine's clock is known of frames,
//! detections and controls, and of a field `timestamp` in seconds in other types without a field `check`; other fields
//! stay as they are.

mod content;
mod export;
mod figures;
mod import;
mod network;
mod offset;
pub mod wire;

pub use export::Export;
pub use figures::{CHANNELS, Direction, MirrorStatus, Mirrored};
pub use network::Network;

use export::Exporter;
use figures::Figures;
use import::Importer;
use lkas_shm::{Channel, ChannelName, Contract, Observer, Options, Writer};
use network::{Keys, Sessions};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Why something can't go on, for a person.
pub type Failure = Box<dyn core::error::Error + Send + Sync>;

/// How often the status is published.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// How often is looked whether to end.
const TURN: Duration = Duration::from_millis(20);

/// Some channels of this machine for others, and some of others for this one.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// What others may import.
    pub exports: Vec<Export>,
    /// What is imported, by the names of the channels without the namespace.
    pub imports: Vec<String>,
    /// Where the others are.
    pub network: Network,
    /// Prefix of all names of shared memory on this machine; empty where there is none.
    pub namespace: String,
    /// The system's name on the network: mirrors of another system don't meet.
    pub system: String,
    /// The channel of the mirror's own [`MirrorStatus`].
    pub status: String,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            exports: Vec::new(),
            imports: Vec::new(),
            network: Network::default(),
            namespace: String::new(),
            system: "lkas".to_owned(),
            status: "mirror_status".to_owned(),
        }
    }
}

impl Mirror {
    /// Mirrors until `stop` is set. Waits as long as there is nobody to connect to.
    ///
    /// # Errors
    /// The options make no sense, a channel to import has a writer here, the status has another writer, or Zenoh can't
    /// listen where it is told to. What happens later is no error: it is said, shown in the status, and tried again.
    pub fn run(&self, stop: &AtomicBool) -> Result<(), Failure> {
        self.check()?;
        let contract = Contract::new(2 * STATUS_EVERY, 5 * STATUS_EVERY)?;
        let mut status =
            Channel::<MirrorStatus>::create(&self.local(&self.status)?, Options::new().contract(contract))?;
        let exported = self.exports.iter().map(|export| (&*export.name, Direction::Exported));
        let imported = self.imports.iter().map(|import| (&**import, Direction::Imported));
        let figures: Vec<Figures> =
            exported.chain(imported).map(|(name, direction)| Figures::new(name, direction)).collect();
        figures.iter().for_each(|figures| figures.trouble("there is no connection yet"));
        // Opening waits for as long as nobody is there; so it is not this thread that waits.
        let network = self.network.clone();
        let opening = std::thread::spawn(move || Sessions::open(&network));
        while !opening.is_finished() {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            publish(&mut status, &figures);
            std::thread::sleep(TURN);
        }
        let sessions = opening.join().map_err(|_| "Zenoh panicked")??;
        std::thread::scope(|threads| {
            let (for_exports, for_imports) = figures.split_at(self.exports.len());
            for (export, figures) in self.exports.iter().zip(for_exports) {
                let (name, keys) = (self.local(&export.name)?, Keys::new(&self.system, &export.name));
                let exporter = Exporter { name, keys, jpeg: export.jpeg, sessions: &sessions, figures, stop };
                threads.spawn(move || exporter.run());
            }
            for (import, figures) in self.imports.iter().zip(for_imports) {
                let (name, keys) = (self.local(import)?, Keys::new(&self.system, import));
                let importer = Importer { name, keys, sessions: &sessions, figures, stop };
                threads.spawn(move || importer.run());
            }
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                if Instant::now() >= due {
                    due += STATUS_EVERY;
                    publish(&mut status, &figures);
                    if let Err(why) = status.check_name() {
                        tracing::error!("{why}");
                    }
                }
                std::thread::sleep(TURN);
            }
            Ok(())
        })
    }

    /// The channel `name` on this machine.
    fn local(&self, name: &str) -> Result<ChannelName, Failure> {
        Ok(ChannelName::new(&self.namespace, name)?)
    }

    /// Whether what is asked for makes sense.
    fn check(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self
            .exports
            .iter()
            .map(|export| &*export.name)
            .chain(self.imports.iter().map(|import| &**import))
            .collect();
        if names.is_empty() {
            return Err("nothing to mirror; use --export or --import".into());
        }
        if names.len() > CHANNELS {
            let found = names.len();
            return Err(format!(
                "{found} channels, expected at most {CHANNELS}; use two mirrors, one with another --status"
            )
            .into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err(format!("{twice} is mirrored twice; a channel is either exported or imported").into());
        }
        // Also the name on the network, where some letters have a meaning.
        self.system.parse::<ChannelName>()?;
        for name in names {
            self.local(name)?;
        }
        for import in &self.imports {
            let name = self.local(import)?;
            let look = Observer::open(&name).map(|channel| channel.look());
            if let Ok(look) = look.as_ref()
                && look.has_writer
            {
                let process = look.writer.process;
                return Err(format!(
                    "can't import {name}: process {process} of this machine writes it, and a channel has one writer; end \
                     it, or import it elsewhere"
                )
                .into());
            }
        }
        Ok(())
    }
}

fn publish(status: &mut Writer<MirrorStatus>, figures: &[Figures]) {
    let mut now = MirrorStatus::default();
    for (place, figures) in now.channels.iter_mut().zip(figures) {
        *place = figures.shown();
    }
    status.publish(now);
}
