//! Playing in lockstep: the next frame is published when detection has answered the last. So detection sees every frame, and
//! with the times that were recorded, its answers depend on nothing but the recording.

use super::described::Described;
use super::player::Player;
use super::reading::Recording;
use super::writing::{Encoding, Entry, Output};
use crate::Failure;
use crate::feed::Feed;
use crate::options::SystemOptions;
use crate::stop::Stop;
use crate::tools;
use lkas_messages::Detection;
use lkas_shm::{ChannelName, DetectionChannel, Observer, Plain, clock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long detection may take for an answer, and to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a wait goes on before it looks whether it shall end.
const SLICE: Duration = Duration::from_millis(50);

pub(super) fn play(
    system: &SystemOptions,
    mut player: Player<'_>,
    mut recording: Recording,
    output: &Option<PathBuf>,
    stop: &Stop,
) -> Result<(), Failure> {
    let camera = ChannelName::new(&system.namespace, &system.camera)?;
    // What an earlier play has left.
    let _ = lkas_shm::unlink(&camera);
    let mut answers = Answers {
        name: system.detection_channel()?,
        topic: system.detections.clone(),
        feed: Feed::new(system.detection_channel()?, DetectionChannel::open),
        output: output.as_deref().map(Output::create).transpose()?,
        described: None,
        count: 0,
    };
    let mut first = None;
    while let Some(value) = recording.next().filter(|_| !stop.is_set()) {
        let first = *first.get_or_insert(value.time);
        if !player.is_wanted(&value, first) {
            continue;
        }
        player.open(&value.source)?;
        let is_camera = value.source.topic == system.camera;
        if is_camera && answers.count == 0 && player.published(&system.camera) > 0 {
            return Err(format!(
                "{camera} had frames before, which detection may have seen; its answers depend on them. End what reads it and start it anew"
            )
            .into());
        }
        if let Some(frame) = player.publish(&value, clock::now(), 0.0)?.filter(|_| is_camera) {
            answers.wait_for(frame, value.time, recording.clock_offset(), stop)?;
        }
    }
    if player.played == 0 && !stop.is_set() {
        return Err(player.nothing(&recording));
    }
    let Answers { output, count, .. } = answers;
    if let Some(output) = output {
        output.finish(&BTreeMap::new())?;
    }
    player.end(&recording)?;
    tools::say(format_args!("{count} answers"))
}

/// What detection makes of the frames.
struct Answers {
    name: ChannelName,
    topic: String,
    feed: Feed<Detection>,
    output: Option<Output>,
    described: Option<Described>,
    count: u64,
}

impl Answers {
    /// Waits for the detection of the frame, and writes it down with the frame's time in its recording.
    fn wait_for(&mut self, frame: u64, time: u64, clock_offset: i128, stop: &Stop) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !stop.is_set() {
            if Instant::now() >= deadline {
                return Err(format!(
                    "frame {frame}: detection did not answer on {} within {} s; start `lkas` with the same --namespace, anew for each play",
                    self.name,
                    PATIENCE.as_secs()
                )
                .into());
            }
            let Some(detection) = self.feed.next(SLICE)?.filter(|detection| detection.frame_id() == frame) else {
                continue;
            };
            self.count += 1;
            let Some(output) = &mut self.output else { return Ok(()) };
            let value = *detection;
            let described = match &mut self.described {
                Some(described) => described,
                none => none.insert(Described::of(&Observer::open(&self.name)?)?),
            };
            // Times of the recording, so that two plays say the same.
            let time = u64::try_from(i128::from(time) - clock_offset).unwrap_or(0);
            return output.write(&Entry {
                topic: &self.topic,
                described,
                encoding: Encoding::Raw,
                sequence: self.count,
                time,
                published: time,
                data: value.as_bytes(),
            });
        }
        Ok(())
    }
}
