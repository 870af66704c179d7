//! Foxglove's WebSocket protocol, version 1: what a client may say, and the form of what it is told.
//!
//! Text messages are JSON objects with an `op`. Binary ones begin with a byte that says what they are; numbers in them are
//! little-endian.

use super::schemas::{MESSAGE_ENCODING, SCHEMA_ENCODING};
use serde::Deserialize;
use serde_json::{Value, json};

/// The names of the protocol under which clients ask for it. Both have the same messages.
pub(crate) const SUBPROTOCOLS: [&str; 2] = ["foxglove.sdk.v1", "foxglove.websocket.v1"];

/// What one WebSocket message may have, in bytes.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;

/// The level of a status that is an error.
const ERROR: u8 = 2;

/// Binary, from the server: a message of a subscription.
const MESSAGE_DATA: u8 = 1;
/// Binary, from the server: the answer of a service.
const SERVICE_RESPONSE: u8 = 3;
/// Binary, from the client: a call of a service.
const SERVICE_REQUEST: u8 = 2;

/// What a client asks for, in its own form: names and numbers are not checked yet.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Request {
    Subscribe {
        subscriptions: Vec<Subscription>,
    },
    Unsubscribe {
        subscription_ids: Vec<u32>,
    },
    /// No names are all names, here and below.
    GetParameters {
        parameter_names: Vec<String>,
        id: Option<String>,
    },
    SetParameters {
        parameters: Vec<Parameter>,
        id: Option<String>,
    },
    SubscribeParameterUpdates {
        parameter_names: Vec<String>,
    },
    UnsubscribeParameterUpdates {
        parameter_names: Vec<String>,
    },
    /// A call of a service, which comes in binary.
    #[serde(skip)]
    Call(Call),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    /// The client's own number for it.
    pub(crate) id: u32,
    pub(crate) channel_id: u64,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) service: u32,
    /// The client's own number for it.
    pub(crate) call: u32,
}

/// What `text` asks for.
///
/// # Errors
/// It is nothing that this server does; the words are for a person.
pub(crate) fn parse_text(text: &str) -> Result<Request, String> {
    serde_json::from_str(text).map_err(|error| format!("not a request that the viewer knows: {error}"))
}

/// What `bytes` ask for.
///
/// # Errors
/// As [`parse_text`].
pub(crate) fn parse_binary(bytes: &[u8]) -> Result<Request, String> {
    match bytes {
        [SERVICE_REQUEST, rest @ ..] => parse_call(rest)
            .map(Request::Call)
            .ok_or_else(|| format!("a call of a service with {} bytes ends too early", bytes.len())),
        [code, ..] => Err(format!("binary messages of kind {code} are unknown; there is {SERVICE_REQUEST}, a call")),
        [] => Err("an empty binary message".to_owned()),
    }
}

fn parse_call(bytes: &[u8]) -> Option<Call> {
    let (service, bytes) = bytes.split_first_chunk()?;
    let (call, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    // What follows the name of the encoding says nothing: the actions have no arguments.
    bytes.get(..u32::from_le_bytes(*length) as usize)?;
    Some(Call { service: u32::from_le_bytes(*service), call: u32::from_le_bytes(*call) })
}

/// The first message: what this server can do.
pub(crate) fn server_info() -> String {
    json!({
        "op": "serverInfo",
        "name": "lkas",
        "capabilities": ["parameters", "parametersSubscribe", "services"],
        "supportedEncodings": [MESSAGE_ENCODING],
    })
    .to_string()
}

/// The channels: number, topic, the name of the schema and the schema.
pub(crate) fn advertise<'a>(channels: impl Iterator<Item = (u64, &'a str, &'a str, Value)>) -> String {
    let channels: Vec<Value> = channels
        .map(|(id, topic, name, schema)| {
            json!({
                "id": id, "topic": topic, "encoding": MESSAGE_ENCODING,
                "schemaName": name, "schemaEncoding": SCHEMA_ENCODING, "schema": schema.to_string(),
            })
        })
        .collect();
    json!({"op": "advertise", "channels": channels}).to_string()
}

/// The services: number and name. None takes arguments.
pub(crate) fn advertise_services<'a>(services: impl Iterator<Item = (u32, &'a str)>) -> String {
    let form = |name: &str, properties: Value| {
        json!({
            "encoding": MESSAGE_ENCODING, "schemaName": name, "schemaEncoding": SCHEMA_ENCODING,
            "schema": json!({"title": name, "type": "object", "properties": properties}).to_string(),
        })
    };
    let answer = json!({
        "accepted": {"type": "boolean", "description": "The system knows the action and lets it pass"},
        "delivered": {"type": "boolean", "description": "A vehicle was there to hear it"},
        "reason": {"type": "string", "description": "Why not"},
    });
    let services: Vec<Value> = services
        .map(|(id, name)| {
            json!({
                "id": id, "name": format!("/{name}"), "type": "lkas.Action",
                "request": form("lkas.ActionRequest", json!({})),
                "response": form("lkas.ActionAnswer", answer.clone()),
            })
        })
        .collect();
    json!({"op": "advertiseServices", "services": services}).to_string()
}

/// Tells the person at the client why something was not done.
pub(crate) fn error(words: &str) -> String {
    json!({"op": "status", "level": ERROR, "message": words}).to_string()
}

/// Values of parameters; `id` is that of the request that this answers.
pub(crate) fn parameter_values<'a>(values: impl Iterator<Item = (&'a str, f64)>, id: Option<&str>) -> String {
    let parameters: Vec<Value> =
        values.map(|(name, value)| json!({"name": name, "type": "float64", "value": value})).collect();
    let mut message = json!({"op": "parameterValues", "parameters": parameters});
    if let Some(id) = id {
        message["id"] = id.into();
    }
    message.to_string()
}

/// A message of the subscription with that number, of a time in nanoseconds since 1970.
pub(crate) fn message_data(subscription: u32, time_ns: u64, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(13 + payload.len());
    message.push(MESSAGE_DATA);
    message.extend_from_slice(&subscription.to_le_bytes());
    message.extend_from_slice(&time_ns.to_le_bytes());
    message.extend_from_slice(payload);
    message
}

/// The answer to a call that reached its service.
pub(crate) fn call_answer(call: Call, answer: &Value) -> Vec<u8> {
    let mut message = vec![SERVICE_RESPONSE];
    message.extend_from_slice(&call.service.to_le_bytes());
    message.extend_from_slice(&call.call.to_le_bytes());
    message.extend_from_slice(&(MESSAGE_ENCODING.len() as u32).to_le_bytes());
    message.extend_from_slice(MESSAGE_ENCODING.as_bytes());
    message.extend_from_slice(answer.to_string().as_bytes());
    message
}

/// The answer to a call that did not.
pub(crate) fn call_failure(call: Call, words: &str) -> String {
    json!({"op": "serviceCallFailure", "serviceId": call.service, "callId": call.call, "message": words}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood() {
        let text = r#"{"op":"subscribe","subscriptions":[{"id":7,"channelId":3}]}"#;
        let expected = Request::Subscribe { subscriptions: vec![Subscription { id: 7, channel_id: 3 }] };
        assert_eq!(parse_text(text), Ok(expected));
        let text = r#"{"op":"setParameters","parameters":[{"name":"decision.kp","value":1,"type":"float64"}]}"#;
        let parameters = vec![Parameter { name: "decision.kp".to_owned(), value: json!(1) }];
        assert_eq!(parse_text(text), Ok(Request::SetParameters { parameters, id: None }));
        let text = r#"{"op":"getParameters","parameterNames":[],"id":"all"}"#;
        assert_eq!(
            parse_text(text),
            Ok(Request::GetParameters { parameter_names: vec![], id: Some("all".to_owned()) })
        );
        let call = b"\x02\x05\0\0\0\x09\0\0\0\x04\0\0\0json{}";
        assert_eq!(parse_binary(call), Ok(Request::Call(Call { service: 5, call: 9 })));
    }

    #[test]
    fn everything_else_is_an_error_and_no_panic() {
        for text in
            ["", "null", "[]", "{", r#"{"op":"fetchAsset"}"#, r#"{"op":"subscribe","subscriptions":[{"id":-1}]}"#]
        {
            assert!(parse_text(text).is_err(), "{text}");
        }
        let call = b"\x02\x05\0\0\0\x09\0\0\0\x04\0\0\0json";
        for length in 0..call.len() {
            assert!(parse_binary(&call[..length]).is_err(), "{length} bytes");
        }
        assert!(parse_binary(b"\x02\x05\0\0\0\x09\0\0\0\xff\xff\xff\xffjson").is_err());
        for code in (0..=u8::MAX).filter(|code| *code != SERVICE_REQUEST) {
            assert!(parse_binary(&[code, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]).is_err());
        }
    }

    #[test]
    fn messages_have_their_places() {
        assert_eq!(message_data(7, 0x0102, b"{}"), b"\x01\x07\0\0\0\x02\x01\0\0\0\0\0\0{}");
        let answer = call_answer(Call { service: 5, call: 9 }, &json!({}));
        assert_eq!(answer, b"\x03\x05\0\0\0\x09\0\0\0\x04\0\0\0json{}");
    }
}
