//! The detection server: takes camera frames, finds the lanes, publishes where they are.

use crate::Failure;
use crate::calibrate;
use crate::config;
use crate::detection::{DetectorParameters, LaneDetector, LaneShape, Lanes};
use crate::feed::Feed;
use crate::latency::Step;
use crate::options::{OWN_PLACE, SERVERS, SystemOptions};
use crate::signals::{LANE, LaneSignal};
use crate::status::State;
use crate::stop::Stop;
use crate::tuning::Tuning;
use crate::vitals::VitalSigns;
use lkas_messages::names::Category;
use lkas_messages::{Detection, DetectionFields, Image};
use lkas_shm::{Channel, DetectionChannel, ImageChannel, clock};
use std::time::{Duration, Instant};

/// How long to wait for a frame before looking at parameters and signals again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Without a frame for so long, the server says that it waits.
const FRAME_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs until `stop` is set. With `broadcast` parameters are taken from the broker while it runs.
///
/// # Errors
/// A channel can't be created or used.
pub fn run(options: &SystemOptions, broadcast: bool, stop: &Stop) -> Result<(), Failure> {
    let mut frames = Feed::new(options.camera_channel()?, |name, open| ImageChannel::open(name, open.place(OWN_PLACE)));
    let mut writer = DetectionChannel::create(&options.detection_channel()?, options.channel(SERVERS))?;
    let shape_channel = options.signal_channel(LANE)?;
    let mut shapes = Channel::<LaneSignal>::create(&shape_channel, options.signal().contract(SERVERS))?;
    let configured = match &options.config {
        Some(path) => config::File::read_whole(path)?.parameters,
        None => Vec::new(),
    };
    let mut vitals = VitalSigns::create(&options.status_channel("detection")?)?;
    let missed_before = vitals.now.missed;
    let mut detector = LaneDetector::new(DetectorParameters::default());
    for (name, value) in vitals.declare(Category::Detection, &configured) {
        detector.set(name, value)?;
    }
    if let Some(path) = &options.mounting {
        detector = detector.mounted(calibrate::read(path)?);
    }
    let mut taken_s = None;
    let mut tuning = broadcast.then(|| Tuning::connect(options, Category::Detection)).transpose()?;
    let mut taken = Instant::now();
    tracing::info!("ready");
    while !stop.is_set() {
        if let Some(tuning) = &mut tuning {
            tuning.apply(&mut vitals, |name, value| {
                detector.parameters().check(name, value)?;
                detector.set(name, value).map_err(|why| why.to_string())
            })?;
        }
        if let Some(image) = frames.next(PATIENCE)? {
            let start = clock::now();
            taken = Instant::now();
            vitals.now.taken += 1;
            match detect(&image, &mut detector, &mut taken_s) {
                Some((fields, shape)) => {
                    // Before the detection: who takes that finds this.
                    shapes.publish(LaneSignal::new(fields.frame_id, shape));
                    vitals.now.both_lanes += u64::from(fields.left.is_some() && fields.right.is_some());
                    writer.publish(Detection::try_from(fields)?);
                    vitals.now.published += 1;
                    vitals.latencies.note_between(Step::Wake, image.time(), start);
                    vitals.latencies.note_between(Step::Detect, start, clock::now());
                }
                None => {
                    vitals.now.torn += 1;
                    tracing::warn!("frame {} is not whole and was left out", image.frame_id());
                }
            }
        }
        match taken.elapsed() < FRAME_TIMEOUT && vitals.now.published > 0 {
            true => vitals.enter(State::Running, ""),
            false => vitals.enter(State::Waiting, "no frames come"),
        }
        vitals.now.missed = missed_before + frames.missed();
        vitals.publish_if_due();
        vitals.keep_names(&mut [&mut writer, &mut shapes]);
        if let Some(tuning) = &mut tuning {
            tuning.speak();
        }
    }
    Ok(())
}

/// The lanes of one frame, which the one before was taken at `taken_s`; `None` where the frame is not whole.
fn detect(
    image: &Image,
    detector: &mut LaneDetector,
    taken_s: &mut Option<f64>,
) -> Option<(DetectionFields, Option<LaneShape>)> {
    let start = Instant::now();
    let view = image.view().filter(|_| image.is_whole())?;
    let before = taken_s.replace(image.timestamp());
    let lanes = match before {
        Some(before) => detector.detect_after(&view, image.timestamp() - before),
        None => detector.detect(&view),
    };
    let Lanes { left, right, shape } = lanes;
    let fields = DetectionFields {
        left,
        right,
        // An image's sides fit: the largest is 16384.
        width: view.shape().width() as u16,
        height: view.shape().height() as u16,
        frame_id: image.frame_id(),
        timestamp: image.timestamp(),
        processing_time_ms: start.elapsed().as_secs_f32() * 1000.0,
    };
    Some((fields, shape))
}
