//! What goes over the wire: ports, topics, JSON objects and the bounds on their size.

pub use crate::endpoint::{DEFAULT_BASE_PORT, DEFAULT_HOST, Endpoint};
use crate::error::Refusal;
pub use crate::error::{MAX_JPEG, MAX_JSON};
pub use crate::ticks::Tick;
use core::time::Duration;
use lkas_messages::names::Name;
use lkas_messages::{DetectionFields, Lane, VehicleStateFields};
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::decode::{decode_action, decode_parameter, decode_vehicle_status, decode_viewer_message, vehicle_state};

/// A command that was given longer ago than this is not executed any more, unless a broker is told otherwise.
pub const ACTION_AGE: Duration = Duration::from_secs(2);

/// The action that stops the vehicle until [`RELEASE_EMERGENCY_STOP`]: it never expires, and needs no lease.
pub const EMERGENCY_STOP: &str = "emergency_stop";
/// The action that ends an emergency stop.
pub const RELEASE_EMERGENCY_STOP: &str = "release_emergency_stop";
/// The action by which somebody takes the lease for commands: `params` has a `holder` to be shown, and `take_over` where
/// it shall be taken from who has it; the request and all that follow have the same secret `client`.
pub const CLAIM_COMMANDS: &str = "claim_commands";
/// The action by which the holder gives the lease back.
pub const RELEASE_COMMANDS: &str = "release_commands";
/// The action that does nothing but be answered: for the round trip. It needs no lease and goes to nobody else.
pub const PING: &str = "ping";
/// The reason that a vehicle states in its status while an emergency stop is latched.
pub const EMERGENCY_STOP_REASON: &str = "emergency stop by a person";

/// Topic of action requests, on the way to the broker and from it to the simulation.
pub const ACTION: &str = "action";
/// Topic of parameter requests on the way to the broker. On the way to a server, the topic is the category's name.
pub const PARAMETER: &str = "parameter";
/// Topic of the simulation's vehicle status.
pub const VEHICLE_STATUS: &str = "vehicle_status";

/// What a broker broadcasts on its first port.
///
/// ZeroMQ matches topics by prefix, so none starts with another one: who subscribes to `state` gets nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `frame`: camera pictures as JPEG.
    Frame,
    /// `detection`: lane lines.
    Detection,
    /// `state`: what the vehicle does.
    State,
    /// `telemetry`: whatever the system tells beyond that; an object of its choosing.
    Telemetry,
    /// `parameter_status`: whether a parameter was accepted, and the value in force.
    ParameterStatus,
    /// `action_status`: whether an action was accepted and delivered.
    ActionStatus,
    /// `status`: what the vehicle and each process say of themselves; sent whatever happens.
    Status,
    /// `tick`: the broker's own time, once a second.
    Tick,
    /// `statistics`: what went through the broker, once a second.
    Statistics,
    /// `typed_frame`: a frame as one object, with `"type": "frame"` and its JPEG in base64 in `image`.
    TypedFrame,
    /// `typed_detection`: a detection with `"type": "detection"`.
    TypedDetection,
    /// `typed_state`: what the vehicle does and where it is in its lane, with `"type": "state"` and `speed` in m/s.
    TypedState,
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 12] = [
        Self::Frame,
        Self::Detection,
        Self::State,
        Self::Telemetry,
        Self::ParameterStatus,
        Self::ActionStatus,
        Self::Status,
        Self::Tick,
        Self::Statistics,
        Self::TypedFrame,
        Self::TypedDetection,
        Self::TypedState,
    ];

    /// Whether it is a topic of objects that say by `type` what they are: the same values as on the topics without, for
    /// clients of another kind. [`ViewerClient`](crate::ViewerClient) does not read them.
    #[must_use]
    pub const fn is_typed(self) -> bool {
        matches!(self, Self::TypedFrame | Self::TypedDetection | Self::TypedState)
    }

    /// The topic's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Detection => "detection",
            Self::State => "state",
            Self::Telemetry => "telemetry",
            Self::ParameterStatus => "parameter_status",
            Self::ActionStatus => "action_status",
            Self::Status => "status",
            Self::Tick => "tick",
            Self::Statistics => "statistics",
            Self::TypedFrame => "typed_frame",
            Self::TypedDetection => "typed_detection",
            Self::TypedState => "typed_state",
        }
    }
}

/// The object of a `frame`; the picture itself follows as a part of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FrameHeader {
    /// When the frame was captured, in seconds.
    pub timestamp: f64,
    /// The frame's number.
    pub frame_id: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size of the JPEG in bytes. A broadcast sets it; a received frame has exactly as many bytes.
    pub jpeg_size: u64,
}

/// The object of a `detection`: these keys and no others, because viewers drop a message with one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DetectionMessage {
    /// The line on the left of the vehicle.
    pub left_lane: Option<Lane>,
    /// The line on the right of the vehicle.
    pub right_lane: Option<Lane>,
    /// How long the detection took, in milliseconds.
    pub processing_time_ms: f32,
    /// The frame in which the lines were found.
    pub frame_id: u64,
}

impl From<&DetectionFields> for DetectionMessage {
    fn from(fields: &DetectionFields) -> Self {
        Self {
            left_lane: fields.left,
            right_lane: fields.right,
            processing_time_ms: fields.processing_time_ms,
            frame_id: fields.frame_id,
        }
    }
}

/// A viewer's wish to change a parameter, as it was sent: not yet compared with the known parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterRequest {
    /// The category named.
    pub category: String,
    /// The parameter named, by the key `parameter` or `name`.
    pub parameter: String,
    /// The value; `None` where it is NaN or infinite.
    pub value: Option<f64>,
    /// The whole object, with keys that this version does not know.
    pub object: Map<String, Value>,
}

/// A wish to do something: `pause`, `resume`, `respawn`.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionRequest {
    /// What to do.
    pub action: Name,
    /// Details, empty where there are none.
    pub params: Map<String, Value>,
    /// When it was asked for, in seconds of the sender's clock.
    pub timestamp: Option<f64>,
    /// How long ago it was asked for by the broker's time, in seconds; `None` where that is not known.
    pub waited_s: Option<f64>,
    /// The whole object, with keys that this version does not know.
    pub object: Map<String, Value>,
}

/// The key of the number under which a broker delivers a request.
pub(crate) const NUMBER: &str = "request_number";

impl ActionRequest {
    /// The broker's number of a request that it delivered, by which it knows [what was refused](crate::Broker::report_refusal);
    /// `None` of one that came from elsewhere.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.object.get(NUMBER)?.as_u64()
    }

    /// How long ago it was asked for, in seconds. `None` where nobody knows, and for an emergency stop, which never expires.
    ///
    /// One from an [`ActionClient`](crate::ActionClient) knows its age by its broker's time. Otherwise the clocks of its
    /// sender and of this machine are compared, which says something only where both are one.
    #[must_use]
    pub fn age_s(&self) -> Option<f64> {
        if self.action.as_str() == EMERGENCY_STOP {
            return None;
        }
        self.waited_s.or_else(|| self.timestamp.map(|asked| now() - asked).filter(|age| *age >= 0.0))
    }
}

/// The simulation's vehicle status, as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleStatus {
    /// The object, which viewers get exactly like this: as it was sent, or what a typed one says in the plain form.
    pub json: String,
    /// The object as it was sent, where it is a typed one.
    pub typed: Option<Map<String, Value>>,
    /// Its numbers; `None` where one is missing or of the wrong kind, which does not keep viewers from getting it.
    pub fields: Option<VehicleStateFields>,
}

/// The answer to a parameter request, on `parameter_status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterStatus {
    /// The category that was named.
    pub category: String,
    /// The parameter that was named.
    pub parameter: String,
    /// The value in force now, or the one that was sent where it is not confirmed; `None` where neither is known.
    pub value: Option<f64>,
    /// Whether the value asked for, or the nearest one in range, was applied; where it is not confirmed, sent.
    pub accepted: bool,
    /// Whether the server that applies it says so itself. One that only speaks the wire can't.
    pub confirmed: bool,
    /// Why it was refused or changed.
    pub reason: Option<String>,
    /// What the server that applies it says of the parameter; `None` where no server has.
    pub declared: Option<Declaration>,
    /// The request's own `id`, a string or a number; `None` where it had none, or nobody asked.
    pub id: Option<Value>,
    /// When it was answered, in seconds since 1970.
    pub timestamp: f64,
}

/// A parameter as its server declares it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Declaration {
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The value at a first start.
    pub default: f64,
    /// The unit, empty where it has none.
    pub unit: String,
    /// One line of help.
    pub help: String,
}

/// The answer to an action request, on `action_status`. One that was delivered, and of which the vehicle says that it refused
/// it ([`Broker::report_refusal`](crate::Broker::report_refusal)), gets a second one with the same `id`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionStatus {
    /// The action that was named.
    pub action: String,
    /// Whether it is one that the system knows.
    pub accepted: bool,
    /// Whether a simulation was subscribed when it was forwarded.
    pub delivered: bool,
    /// Why it was refused or not delivered.
    pub reason: Option<String>,
    /// The request's own `id`, a string or a number; `None` where it had none.
    pub id: Option<Value>,
    /// When it was answered, in seconds since 1970.
    pub timestamp: f64,
}

/// Something that a broker broadcasts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ViewerMessage {
    /// A camera picture.
    Frame {
        /// What the picture is.
        header: FrameHeader,
        /// The JPEG.
        jpeg: Vec<u8>,
    },
    /// Lane lines.
    Detection(DetectionMessage),
    /// What the vehicle does, as the simulation sent it; [`vehicle_state`] reads its numbers.
    State(Value),
    /// Whatever the system tells beyond that.
    Telemetry(Value),
    /// Whether a parameter was accepted, and the value in force.
    ParameterStatus(ParameterStatus),
    /// Whether an action was accepted and delivered.
    ActionStatus(ActionStatus),
    /// What the vehicle and each process say of themselves.
    Status(Value),
    /// The broker's own time.
    Tick(Tick),
    /// What went through the broker.
    Statistics(Value),
}

impl ViewerMessage {
    /// The topic on which it came.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Frame { .. } => Topic::Frame,
            Self::Detection(_) => Topic::Detection,
            Self::State(_) => Topic::State,
            Self::Telemetry(_) => Topic::Telemetry,
            Self::ParameterStatus(_) => Topic::ParameterStatus,
            Self::ActionStatus(_) => Topic::ActionStatus,
            Self::Status(_) => Topic::Status,
            Self::Tick(_) => Topic::Tick,
            Self::Statistics(_) => Topic::Statistics,
        }
    }
}

/// Seconds since 1970, which is what time stamps of commands and answers count.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Bytes of an object that is within bounds.
pub(crate) fn encode<T: Serialize + ?Sized>(object: &T) -> Result<Vec<u8>, Refusal> {
    let bytes = serde_json::to_vec(object).map_err(|error| Refusal::NotJson { why: error.to_string() })?;
    if bytes.first() != Some(&b'{') {
        return Err(Refusal::NotAnObject);
    }
    if bytes.len() > MAX_JSON { Err(Refusal::LargeObject { size: bytes.len() }) } else { Ok(bytes) }
}

/// A finite number for JSON, without a fraction where it has none: `OpenCV`, behind Python's detection servers, refuses
/// 60.0 where it counts, while nothing refuses 60 where it measures.
pub(crate) fn number(value: f64) -> Value {
    // Up to here every integer is a floating-point number of its own, so that the conversion loses nothing.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        let whole = value as i64;
        return Value::Number(Number::from(whole));
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The object of a parameter request.
pub(crate) fn parameter_object(category: &str, parameter: &str, value: f64) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("category".to_owned(), Value::from(category));
    object.insert("parameter".to_owned(), Value::from(parameter));
    object.insert("name".to_owned(), Value::from(parameter));
    object.insert("value".to_owned(), number(value));
    object.insert("timestamp".to_owned(), Value::from(now()));
    object
}
