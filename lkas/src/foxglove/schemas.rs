//! Messages as Foxglove and Lichtblick understand them: JSON, each with the JSON schema that describes it.
//!
//! Their own types where there is one that fits; whatever else there is as it describes itself. Both programs read a subset
//! of JSON schema: each field has one type, so what there is not is left out rather than null, and arrays hold no arrays.
//! Times are nanoseconds since 1970.

use base64::{Engine, prelude::BASE64_STANDARD};
use lkas_core::Scalar;
use lkas_messages::Lane;
use lkas_shm::{DescribedField, FieldKind, FieldValue};
use serde_json::{Map, Value, json};

/// The encoding of every message here, as both the WebSocket and MCAP name it.
pub const MESSAGE_ENCODING: &str = "json";

/// The encoding of every schema here, as both the WebSocket and MCAP name it.
pub const SCHEMA_ENCODING: &str = "jsonschema";

/// The name of [`compressed_image_schema`].
pub const COMPRESSED_IMAGE: &str = "foxglove.CompressedImage";

/// The name of [`image_annotations_schema`].
pub const IMAGE_ANNOTATIONS: &str = "foxglove.ImageAnnotations";

/// The name of [`log_schema`].
pub const LOG: &str = "foxglove.Log";

/// A points annotation that joins its points with one line.
const LINE_STRIP: u8 = 3;

/// Width of a lane's line, in pixels of the frame.
const THICKNESS: f64 = 4.0;

const LEFT: [f64; 3] = [0.96, 0.62, 0.04];
const RIGHT: [f64; 3] = [0.22, 0.74, 0.97];

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything is in order.
    Info = 2,
    /// Somebody should look.
    Warning = 3,
    /// The vehicle does not drive, or something is broken.
    Error = 4,
}

fn object(title: &str, properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({"title": title, "type": "object", "required": required, "properties": properties})
}

fn list_of(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn time_schema() -> Value {
    let part = json!({"type": "integer", "minimum": 0});
    object("time", json!({"sec": part, "nsec": part}))
}

fn point_schema() -> Value {
    object("foxglove.Point2", json!({"x": {"type": "number"}, "y": {"type": "number"}}))
}

fn color_schema() -> Value {
    let part = json!({"type": "number", "minimum": 0, "maximum": 1});
    object("foxglove.Color", json!({"r": part, "g": part, "b": part, "a": part}))
}

/// The schema of [`compressed_image`].
#[must_use]
pub fn compressed_image_schema() -> Value {
    let properties = json!({
        "timestamp": time_schema(),
        "frame_id": {"type": "string", "description": "The camera"},
        "data": {"type": "string", "contentEncoding": "base64", "description": "The encoded frame"},
        "format": {"type": "string", "description": "How it is encoded: jpeg"},
    });
    object(COMPRESSED_IMAGE, properties)
}

/// The schema of [`image_annotations`].
#[must_use]
pub fn image_annotations_schema() -> Value {
    let number = json!({"type": "number"});
    let circle = json!({
        "timestamp": time_schema(),
        "position": point_schema(),
        "diameter": number,
        "thickness": number,
        "fill_color": color_schema(),
        "outline_color": color_schema(),
    });
    let points = json!({
        "timestamp": time_schema(),
        "type": {"type": "integer", "description": "1 points, 2 closed line, 3 open line, 4 single lines"},
        "points": list_of(point_schema()),
        "outline_color": color_schema(),
        "outline_colors": list_of(color_schema()),
        "fill_color": color_schema(),
        "thickness": number,
    });
    let text = json!({
        "timestamp": time_schema(),
        "position": point_schema(),
        "text": {"type": "string"},
        "font_size": number,
        "text_color": color_schema(),
        "background_color": color_schema(),
    });
    let properties = json!({
        "circles": list_of(object("foxglove.CircleAnnotation", circle)),
        "points": list_of(object("foxglove.PointsAnnotation", points)),
        "texts": list_of(object("foxglove.TextAnnotation", text)),
    });
    object(IMAGE_ANNOTATIONS, properties)
}

/// The schema of [`log`].
#[must_use]
pub fn log_schema() -> Value {
    let properties = json!({
        "timestamp": time_schema(),
        "level": {"type": "integer", "description": "1 debug, 2 information, 3 warning, 4 error, 5 fatal"},
        "message": {"type": "string"},
        "name": {"type": "string", "description": "The process"},
        "file": {"type": "string"},
        "line": {"type": "integer", "minimum": 0},
    });
    object(LOG, properties)
}

fn time(nanoseconds: u64) -> Value {
    json!({"sec": nanoseconds / 1_000_000_000, "nsec": nanoseconds % 1_000_000_000})
}

/// A frame as JPEG, taken at `time_ns` by the camera of that name: a `foxglove.CompressedImage`.
#[must_use]
pub fn compressed_image(time_ns: u64, camera: &str, jpeg: &[u8]) -> Value {
    let data = BASE64_STANDARD.encode(jpeg);
    json!({"timestamp": time(time_ns), "frame_id": camera, "format": "jpeg", "data": data})
}

/// The lanes of the frame that was taken at `time_ns`, as lines over it: a `foxglove.ImageAnnotations`. The less sure a lane
/// is, the fainter its line.
#[must_use]
pub fn image_annotations(time_ns: u64, left: Option<&Lane>, right: Option<&Lane>) -> String {
    let color = |[r, g, b]: [f64; 3], a: f64| json!({"r": r, "g": g, "b": b, "a": a});
    let line = |lane: &Lane, rgb: [f64; 3]| {
        json!({
            "timestamp": time(time_ns),
            "type": LINE_STRIP,
            "points": [{"x": lane.x1, "y": lane.y1}, {"x": lane.x2, "y": lane.y2}],
            "outline_color": color(rgb, 0.25 + 0.75 * f64::from(lane.confidence)),
            "outline_colors": [],
            "fill_color": color(rgb, 0.0),
            "thickness": THICKNESS,
        })
    };
    let lines: Vec<Value> =
        [(left, LEFT), (right, RIGHT)].into_iter().filter_map(|(lane, rgb)| Some(line(lane?, rgb))).collect();
    json!({"circles": [], "points": lines, "texts": []}).to_string()
}

/// Something that happened in the process of that name: a `foxglove.Log`.
#[must_use]
pub fn log(time_ns: u64, level: Level, process: &str, words: &str) -> String {
    json!({
        "timestamp": time(time_ns),
        "level": level as u8,
        "message": words,
        "name": process,
        "file": "",
        "line": 0,
    })
    .to_string()
}

/// The schema of [`channel_value`] for a channel whose type has this name and these fields.
///
/// A field `left.x1` is `x1` in the object `left`, and `wheels[].rate` is `rate` in each object of the array `wheels`.
/// Fields that may be absent are not required.
#[must_use]
pub fn channel_schema(type_name: &str, fields: &[DescribedField]) -> Value {
    let mut schema = json!({"title": type_name, "type": "object", "properties": {}, "required": []});
    for field in fields {
        let mut at = &mut schema;
        let mut names = field.name.split('.').peekable();
        while let Some(name) = names.next() {
            let (key, is_list) = key(name);
            let required = &mut at["required"];
            if field.present.is_none()
                && is_always_there(field)
                && let Some(required) = required.as_array_mut()
                && !required.iter().any(|known| *known == key)
            {
                required.push(key.clone().into());
            }
            let place = &mut at["properties"][key];
            if names.peek().is_none() {
                *place = if is_list { list_of(field_schema(field)) } else { field_schema(field) };
            } else if place.is_null() {
                let nested = json!({"type": "object", "properties": {}, "required": []});
                *place = if is_list { list_of(nested) } else { nested };
            }
            at = if is_list && names.peek().is_some() { &mut place["items"] } else { place };
        }
    }
    schema
}

/// JSON has no NaN, and a byte may mean neither true nor false.
fn is_always_there(field: &DescribedField) -> bool {
    match &field.kind {
        FieldKind::Number(scalar) => !matches!(scalar, Scalar::F32 | Scalar::F64),
        FieldKind::Text | FieldKind::Code(..) => true,
        _ => false,
    }
}

fn field_schema(field: &DescribedField) -> Value {
    let kind = match &field.kind {
        FieldKind::Number(Scalar::F32 | Scalar::F64) => "number",
        FieldKind::Number(_) => "integer",
        FieldKind::Bool => "boolean",
        _ => "string",
    };
    let mut schema = json!({"type": kind});
    if let FieldKind::Code(_, names) = &field.kind {
        let names: Vec<_> = names.iter().map(|(_, name)| name.as_str()).collect();
        schema["description"] = format!("one of {}", names.join(", ")).into();
    } else if !field.unit.is_empty() {
        schema["description"] = format!("in {}", field.unit).into();
    }
    if field.kind == FieldKind::Text || field.count.is_none() { schema } else { list_of(schema) }
}

/// The key that a part of a field's name stands for, and whether there is a list of it: `wheels[]` is a list, `gears[1]`,
/// which is one of several, a key of its own, and `bolts[][2]` a list of the third ones.
fn key(name: &str) -> (String, bool) {
    (name.replacen("[]", "", 1).replace('[', "_").replace(']', ""), name.contains("[]"))
}

/// The value that `payload` is by these fields, as an object of [`channel_schema`]. What there is not, and numbers that JSON
/// does not have (NaN, infinities), are left out.
#[must_use]
pub fn channel_value(fields: &[DescribedField], payload: &[u8]) -> Value {
    let mut object = json!({});
    for field in fields {
        let Some(value) = field.read(payload) else { continue };
        insert(&mut object, &field.name, value, &field.kind);
    }
    object
}

fn insert(at: &mut Value, name: &str, value: FieldValue, kind: &FieldKind) {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let (key, is_list) = key(first);
    match (rest, value) {
        (Some(rest), FieldValue::List(items)) if is_list => {
            let list = &mut at[key];
            if !list.is_array() {
                *list = Value::Array(vec![json!({}); items.len()]);
            }
            for (place, item) in list.as_array_mut().into_iter().flatten().zip(items) {
                insert(place, rest, item, kind);
            }
        }
        (Some(rest), value) => {
            let place = &mut at[key];
            if !place.is_object() {
                *place = json!({});
            }
            insert(place, rest, value, kind);
        }
        (None, value) => {
            if let Some(value) = in_json(value, kind) {
                at[key] = value;
            }
        }
    }
}

/// `None` where the value has no form in JSON of the type that its schema says.
fn in_json(value: FieldValue, kind: &FieldKind) -> Option<Value> {
    match (value, kind) {
        (FieldValue::List(values), kind) => values.into_iter().map(|value| in_json(value, kind)).collect(),
        (FieldValue::Unsigned(number), FieldKind::Number(_)) => Some(number.into()),
        (FieldValue::Signed(number), FieldKind::Number(_)) => Some(number.into()),
        (FieldValue::Float(number), _) => number.is_finite().then(|| number.into()),
        (FieldValue::Bool(value), _) => Some(value.into()),
        (FieldValue::Absent, _) | (_, FieldKind::Bool) => None,
        (FieldValue::Name(text), _) => Some(text.into()),
        // Also a number that should stand for a name, and does not.
        (other, _) => Some(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use lkas_core::Plain;
    use lkas_messages::{Control, ControlFields};
    use lkas_shm::{Channel, ChannelName, Message, Options, Text};

    /// What is wrong with a value by the part of JSON schema that is used here.
    fn check(schema: &Value, value: &Value) -> Result<(), String> {
        let fits = match schema["type"].as_str() {
            Some("object") => {
                let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) else {
                    return Err(format!("{value} is no object of {schema}"));
                };
                for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if !object.contains_key(required) {
                        return Err(format!("{required} is missing in {value}"));
                    }
                }
                for (key, value) in object {
                    check(properties.get(key).ok_or_else(|| format!("{key} is not described"))?, value)?;
                }
                true
            }
            Some("array") => {
                assert_ne!(schema["items"]["type"], "array", "neither program reads arrays of arrays");
                let items = value.as_array().ok_or_else(|| format!("{value} is no array"))?;
                items.iter().try_for_each(|item| check(&schema["items"], item))?;
                true
            }
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{value} is not {schema}")) }
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// The fields of a message, as a segment of it describes them.
    fn fields<M: Message + Plain>(test: &str) -> Vec<DescribedField> {
        let name: ChannelName = format!("test-{}-schemas-{test}", std::process::id()).parse().unwrap();
        let writer = Channel::<M>::create(&name, Options::new()).unwrap();
        let fields = lkas_shm::Observer::open(&name).unwrap().description().fields().to_vec();
        drop(writer);
        lkas_shm::unlink(&name).unwrap();
        fields
    }

    const TIME: u64 = 1_700_000_000_000_000_005;

    #[test]
    fn messages_are_what_their_schemas_say() {
        let image = compressed_image(TIME, "camera", b"\xff\xd8\xff");
        check(&compressed_image_schema(), &image).unwrap();
        assert_eq!((&image["data"], &image["format"]), (&json!("/9j/"), &json!("jpeg")));
        assert_eq!(image["timestamp"], json!({"sec": 1_700_000_000, "nsec": 5}));

        let left = Lane { x1: 100.5, y1: 600.0, x2: 300.0, y2: 350.0, confidence: 1.0 };
        let right = Lane { x1: 700.0, confidence: 0.0, ..left };
        let lanes = parsed(&image_annotations(TIME, Some(&left), Some(&right)));
        check(&image_annotations_schema(), &lanes).unwrap();
        assert_eq!(lanes["points"][0]["points"], json!([{"x": 100.5, "y": 600.0}, {"x": 300.0, "y": 350.0}]));
        let opacity = |line: &Value| line["outline_color"]["a"].as_f64().unwrap();
        assert_eq!((opacity(&lanes["points"][0]), opacity(&lanes["points"][1])), (1.0, 0.25));
        let none = parsed(&image_annotations(TIME, None, None));
        check(&image_annotations_schema(), &none).unwrap();
        assert_eq!(none["points"], json!([]), "lanes that are not found are drawn nowhere");

        let event = parsed(&log(TIME, Level::Error, "simulation", "safe stop"));
        check(&log_schema(), &event).unwrap();
        assert_eq!((&event["level"], &event["name"]), (&json!(4), &json!("simulation")));
    }

    #[test]
    fn a_channel_is_what_its_own_schema_says() {
        let fields = fields::<Control>("control");
        let schema = channel_schema(Control::NAME, &fields);
        let given = ControlFields { lateral_offset_m: Some(-0.25), frame_id: 7, ..ControlFields::default() };
        let value = channel_value(&fields, Control::try_from(given).unwrap().as_bytes());
        check(&schema, &value).unwrap();
        assert_eq!((&value["frame_id"], &value["lateral_offset_m"]), (&json!(7), &json!(-0.25)));
        assert_eq!(value.get("heading_angle_deg"), None, "what there is not is not null");
        assert_eq!(schema["properties"]["lateral_offset_m"]["description"], "in m");

        // Any bytes are a value that fits.
        check(&schema, &channel_value(&fields, &[0xff; size_of::<Control>()])).unwrap();
        assert_eq!(channel_value(&fields, &[]), json!({}));
    }

    #[test]
    fn nested_messages_are_objects_and_several_of_them_arrays() {
        let fields = fields::<Status>("status");
        let schema = channel_schema(Status::NAME, &fields);
        let mut status = Status::default();
        status.note("the writer died", 5);
        status.vitals.latency.p50_ms = 1.5;
        status.parameters[1].name = "kp".into();
        let value = channel_value(&fields, status.as_bytes());
        check(&schema, &value).unwrap();
        assert_eq!(value["events"][1]["words"], "the writer died");
        assert_eq!(value["vitals"]["latency"]["p50_ms"], 1.5);
        assert_eq!((&value["parameters"][0]["name"], &value["parameters"][1]["name"]), (&json!(""), &json!("kp")));
        check(&schema, &channel_value(&fields, &vec![0xff; size_of::<Status>()])).unwrap();
    }

    #[derive(Message, Clone, Copy)]
    #[message(name = "test.Spot")]
    #[repr(C)]
    struct Spot {
        present: u8,
        #[message(present = 3)]
        hue: u8,
    }

    #[derive(Message, Clone, Copy)]
    #[message(name = "test.Spots")]
    #[repr(C)]
    struct Spots {
        spots: [Spot; 3],
        pairs: [[Spot; 2]; 2],
        names: [Text<2>; 2],
    }

    #[test]
    fn each_of_several_messages_says_itself_what_it_lacks() {
        let fields = fields::<Spots>("spots");
        let [none, green, blue] = [(0xf7, 1), (8, 2), (8, 3)].map(|(present, hue)| Spot { present, hue });
        let pairs = [[none, green], [blue, none]];
        let spots = Spots { spots: [none, green, none], pairs, names: ["a".into(), "bc".into()] };
        let value = channel_value(&fields, spots.as_bytes());
        check(&channel_schema(Spots::NAME, &fields), &value).unwrap();
        let [none, green, blue] =
            [json!({"present": 0xf7}), json!({"present": 8, "hue": 2}), json!({"present": 8, "hue": 3})];
        assert_eq!(value["spots"], json!([none, green, none]));
        assert_eq!((&value["pairs_0"], &value["pairs_1"]), (&json!([none, blue]), &json!([green, none])));
        assert_eq!(value["names"], json!(["a", "bc"]));
    }
}
