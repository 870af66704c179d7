//! From foreign bytes to messages: total functions, which refuse by name what they can't read.
//!
//! Python writes NaN and infinities as bare words, which are no JSON. An object with one of them is refused as
//! [`Refusal::NotFinite`], except that a parameter request is read as one without a value, so that its sender can be
//! answered. Integers are accepted where numbers are expected, and numbers without a fraction where integers are.

use crate::error::Refusal;
use crate::typed;
use crate::wire::{
    ACTION, ActionRequest, ActionStatus, Declaration, DetectionMessage, FrameHeader, MAX_JPEG, MAX_JSON, PARAMETER,
    ParameterRequest, ParameterStatus, Tick, Topic, VEHICLE_STATUS, VehicleStatus, ViewerMessage,
};
use lkas_messages::{Lane, VehicleStateFields};
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// An action request from its parts: topic and object, or an object alone.
///
/// # Errors
/// Why it is none.
pub fn decode_action(parts: &[&[u8]]) -> Result<ActionRequest, Refusal> {
    let mut object = finite_object(body(parts, ACTION)?)?;
    let action = text(&object, "action")?.parse()?;
    let params = match object.get("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params.clone(),
        Some(_) => return Err(Refusal::WrongKind { key: "params", expected: "an object" }),
    };
    object.insert("params".to_owned(), Value::Object(params.clone()));
    let timestamp = optional_number(&object, "timestamp")?;
    Ok(ActionRequest { action, params, timestamp, waited_s: None, object })
}

/// A parameter request from its parts: topic and object, or an object alone. The names may be unknown and the value out of range.
///
/// # Errors
/// Why it is none.
pub fn decode_parameter(parts: &[&[u8]]) -> Result<ParameterRequest, Refusal> {
    let body = body(parts, PARAMETER)?;
    parameter_from(body)
}

/// A parameter from the parts that a server gets: its category's name as topic, and the object.
pub(crate) fn decode_forwarded(parts: &[&[u8]], category: &'static str) -> Result<ParameterRequest, Refusal> {
    let body = body(parts, category)?;
    parameter_from(body)
}

fn parameter_from(body: &[u8]) -> Result<ParameterRequest, Refusal> {
    let (object, finite) = object(body)?;
    let category = text(&object, "category")?.to_owned();
    let key = if object.contains_key("parameter") { "parameter" } else { "name" };
    let parameter = match object.get(key) {
        Some(Value::String(name)) => name.clone(),
        Some(_) => return Err(Refusal::WrongKind { key, expected: "a string" }),
        None => return Err(Refusal::Missing { key: "parameter" }),
    };
    let value = match object.get("value") {
        Some(Value::Null) if !finite => None,
        _ => Some(required_number(&object, "value")?),
    };
    Ok(ParameterRequest { category, parameter, value: value.filter(|_| finite), object })
}

/// A vehicle status from its parts: topic and object, or an object with a `type` alone.
///
/// # Errors
/// Why it is none.
pub fn decode_vehicle_status(parts: &[&[u8]]) -> Result<VehicleStatus, Refusal> {
    let body = body(parts, VEHICLE_STATUS)?;
    let object = finite_object(body)?;
    if parts.len() == 1 && !object.contains_key("type") {
        return Err(Refusal::Missing { key: "type" });
    }
    let json = String::from_utf8(body.to_vec()).map_err(|error| Refusal::NotJson { why: error.to_string() })?;
    let Some(plain) = typed::plain_state(&object) else {
        return Ok(VehicleStatus { json, fields: vehicle_state(&Value::Object(object)), typed: None });
    };
    let plain = Value::Object(plain?);
    Ok(VehicleStatus { json: plain.to_string(), fields: vehicle_state(&plain), typed: Some(object) })
}

/// The numbers of a `state` or `vehicle_status` object; `None` where one is missing or of the wrong kind.
#[must_use]
pub fn vehicle_state(object: &Value) -> Option<VehicleStateFields> {
    let object = object.as_object()?;
    let three = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(Value::Array(values)) => match values.as_slice() {
            [x, y, z] => Some(Some([single(x)?, single(y)?, single(z)?])),
            _ => None,
        },
        Some(_) => None,
    };
    Some(VehicleStateFields {
        steering: single(object.get("steering")?)?,
        throttle: single(object.get("throttle")?)?,
        brake: single(object.get("brake")?)?,
        speed_kmh: single(object.get("speed_kmh")?)?,
        position: three("position")?,
        rotation: three("rotation")?,
        paused: match object.get("paused") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(paused)) => Some(*paused),
            Some(_) => return None,
        },
    })
}

/// A broadcast from its parts: topic, object and, for frames, the JPEG.
///
/// # Errors
/// Why it is none.
pub fn decode_viewer_message(parts: &[&[u8]]) -> Result<ViewerMessage, Refusal> {
    let topic = parts.first().copied().unwrap_or_default();
    let Some(topic) = Topic::ALL.into_iter().find(|known| !known.is_typed() && known.name().as_bytes() == topic) else {
        return Err(Refusal::Topic { found: printable(topic), expected: "a topic of broadcasts" });
    };
    let (body, jpeg) = match (topic, parts) {
        (Topic::Frame, &[_, body, jpeg]) => (body, jpeg),
        (Topic::Frame, _) => return Err(Refusal::Parts { found: parts.len(), expected: 3 }),
        (_, &[_, body]) => (body, Default::default()),
        (_, _) => return Err(Refusal::Parts { found: parts.len(), expected: 2 }),
    };
    if jpeg.len() > MAX_JPEG {
        return Err(Refusal::LargePicture { size: jpeg.len() });
    }
    let object = finite_object(body)?;
    Ok(match topic {
        Topic::Frame => ViewerMessage::Frame { header: frame_header(&object, jpeg.len())?, jpeg: jpeg.to_vec() },
        Topic::Detection => ViewerMessage::Detection(detection(&object)?),
        Topic::State => ViewerMessage::State(Value::Object(object)),
        Topic::Telemetry => ViewerMessage::Telemetry(Value::Object(object)),
        Topic::Status => ViewerMessage::Status(Value::Object(object)),
        Topic::ParameterStatus => ViewerMessage::ParameterStatus(ParameterStatus {
            category: text(&object, "category")?.to_owned(),
            parameter: text(&object, "parameter")?.to_owned(),
            value: optional_number(&object, "value")?,
            accepted: flag(&object, "accepted")?,
            // Brokers that don't say don't know.
            confirmed: object.contains_key("confirmed") && flag(&object, "confirmed")?,
            reason: optional_text(&object, "reason")?,
            declared: declaration(&object),
            id: id(&object),
            timestamp: required_number(&object, "timestamp")?,
        }),
        Topic::ActionStatus => ViewerMessage::ActionStatus(ActionStatus {
            action: text(&object, "action")?.to_owned(),
            accepted: flag(&object, "accepted")?,
            delivered: flag(&object, "delivered")?,
            reason: optional_text(&object, "reason")?,
            id: id(&object),
            timestamp: required_number(&object, "timestamp")?,
        }),
        Topic::Tick => ViewerMessage::Tick(tick(&object)?),
        // Those that are typed are none of a viewer's.
        _ => ViewerMessage::Statistics(Value::Object(object)),
    })
}

/// A tick from its parts: topic and object.
pub(crate) fn decode_tick(parts: &[&[u8]]) -> Result<Tick, Refusal> {
    tick(&finite_object(body(parts, Topic::Tick.name())?)?)
}

fn tick(object: &Object) -> Result<Tick, Refusal> {
    Tick::read(object).ok_or_else(|| wrong("at", "a time of a named broker"))
}

/// The `id` by which a sender knows its request: a short string or a number.
pub(crate) fn id(object: &Object) -> Option<Value> {
    let is_short = |id: &&Value| id.is_number() || id.as_str().is_some_and(|text| text.len() <= 64);
    object.get("id").filter(is_short).cloned()
}

/// As much of an object as there is in a message that is no request, so that its sender can be answered.
pub(crate) fn remains(parts: &[&[u8]]) -> Object {
    let last = parts.last().copied().unwrap_or_default();
    object(last).map(|(object, _)| object).unwrap_or_default()
}

fn declaration(object: &Object) -> Option<Declaration> {
    let declared = object.get("declared")?.as_object()?;
    let text = |key| text(declared, key).map(str::to_owned).unwrap_or_default();
    Some(Declaration {
        min: required_number(declared, "min").ok()?,
        max: required_number(declared, "max").ok()?,
        default: required_number(declared, "default").ok()?,
        unit: text("unit"),
        help: text("help"),
    })
}

fn frame_header(object: &Object, size: usize) -> Result<FrameHeader, Refusal> {
    let pixels = |key| u32::try_from(whole(object, key)?).map_err(|_| wrong(key, "an image's side in pixels"));
    let header = FrameHeader {
        timestamp: required_number(object, "timestamp")?,
        frame_id: whole(object, "frame_id")?,
        width: pixels("width")?,
        height: pixels("height")?,
        jpeg_size: whole(object, "jpeg_size")?,
    };
    if usize::try_from(header.jpeg_size) == Ok(size) {
        Ok(header)
    } else {
        Err(Refusal::PictureSize { stated: header.jpeg_size, found: size })
    }
}

fn detection(object: &Object) -> Result<DetectionMessage, Refusal> {
    Ok(DetectionMessage {
        left_lane: lane(object, "left_lane")?,
        right_lane: lane(object, "right_lane")?,
        processing_time_ms: coordinate(object, "processing_time_ms")?,
        frame_id: whole(object, "frame_id")?,
    })
}

fn lane(object: &Object, key: &'static str) -> Result<Option<Lane>, Refusal> {
    match object.get(key) {
        None => Err(Refusal::Missing { key }),
        Some(Value::Null) => Ok(None),
        Some(Value::Object(lane)) => Ok(Some(Lane {
            x1: coordinate(lane, "x1")?,
            y1: coordinate(lane, "y1")?,
            x2: coordinate(lane, "x2")?,
            y2: coordinate(lane, "y2")?,
            confidence: coordinate(lane, "confidence")?,
        })),
        Some(_) => Err(wrong(key, "a lane or null")),
    }
}

/// The object's bytes, if there are two parts and the first is `topic`; or if there is an object alone.
fn body<'a>(parts: &[&'a [u8]], topic: &'static str) -> Result<&'a [u8], Refusal> {
    // The topic comes first: who sends something else altogether is told so.
    match parts.first() {
        Some(object) if parts.len() == 1 && object.trim_ascii_start().starts_with(b"{") => Ok(object),
        Some(found) if *found != topic.as_bytes() => Err(Refusal::Topic { found: printable(found), expected: topic }),
        _ => match parts {
            &[_, body] => Ok(body),
            _ => Err(Refusal::Parts { found: parts.len(), expected: 2 }),
        },
    }
}

/// The start of foreign bytes as text.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..32).unwrap_or(bytes)).into_owned()
}

fn finite_object(bytes: &[u8]) -> Result<Object, Refusal> {
    match object(bytes)? {
        (object, true) => Ok(object),
        (_, false) => Err(Refusal::NotFinite),
    }
}

/// The object, and whether all its numbers are finite; those that are not are null in it.
fn object(bytes: &[u8]) -> Result<(Object, bool), Refusal> {
    if bytes.len() > MAX_JSON {
        return Err(Refusal::LargeObject { size: bytes.len() });
    }
    let (value, finite) = match serde_json::from_slice(bytes) {
        Ok(value) => (value, true),
        Err(error) => {
            let refusal = Refusal::NotJson { why: error.to_string() };
            let Some(replaced) = without_bare_words(bytes) else { return Err(refusal) };
            (serde_json::from_slice(&replaced).map_err(|_| refusal)?, false)
        }
    };
    match value {
        Value::Object(object) => Ok((object, finite)),
        _ => Err(Refusal::NotAnObject),
    }
}

/// `bytes` with Python's NaN, Infinity and -Infinity replaced by null; `None` if there is none of them.
fn without_bare_words(bytes: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut replaced = Vec::with_capacity(bytes.len() + 16);
    let (mut rest, mut in_string, mut found) = (bytes, false, false);
    while let [first, tail @ ..] = rest {
        if !in_string && let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
            replaced.extend_from_slice(b"null");
            rest = rest.get(word.len()..).unwrap_or_default();
            found = true;
            continue;
        }
        replaced.push(*first);
        rest = tail;
        match first {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if let [escaped, tail @ ..] = rest {
                    replaced.push(*escaped);
                    rest = tail;
                }
            }
            _ => {}
        }
    }
    found.then_some(replaced)
}

fn wrong(key: &'static str, expected: &'static str) -> Refusal {
    Refusal::WrongKind { key, expected }
}

fn text<'a>(object: &'a Object, key: &'static str) -> Result<&'a str, Refusal> {
    match object.get(key) {
        None => Err(Refusal::Missing { key }),
        Some(value) => value.as_str().ok_or_else(|| wrong(key, "a string")),
    }
}

fn optional_text(object: &Object, key: &'static str) -> Result<Option<String>, Refusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(object, key).map(|text| Some(text.to_owned())),
    }
}

fn flag(object: &Object, key: &'static str) -> Result<bool, Refusal> {
    object.get(key).ok_or(Refusal::Missing { key })?.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn required_number(object: &Object, key: &'static str) -> Result<f64, Refusal> {
    let value = object.get(key).ok_or(Refusal::Missing { key })?;
    let expected = if value.is_string() { "a number; send it without quotation marks" } else { "a number" };
    let number = value.as_f64().ok_or_else(|| wrong(key, expected))?;
    if number.is_finite() { Ok(number) } else { Err(Refusal::NotFinite) }
}

fn optional_number(object: &Object, key: &'static str) -> Result<Option<f64>, Refusal> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => required_number(object, key).map(Some),
    }
}

/// A number in single precision; `None` where it is none or too large for that.
fn single(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
}

fn coordinate(object: &Object, key: &'static str) -> Result<f32, Refusal> {
    single(object.get(key).ok_or(Refusal::Missing { key })?).ok_or_else(|| wrong(key, "a number"))
}

/// An integer from 0 on, with or without `.0`.
fn whole(object: &Object, key: &'static str) -> Result<u64, Refusal> {
    let value = object.get(key).ok_or(Refusal::Missing { key })?;
    if let Some(whole) = value.as_u64() {
        return Ok(whole);
    }
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 && (0.0..=9.0e15).contains(&number) => Ok(number as u64),
        _ => Err(wrong(key, "an integer from 0 on")),
    }
}
