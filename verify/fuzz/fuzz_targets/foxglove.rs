//! Any bytes as what a client of Foxglove's WebSocket sends, as text and as binary. Whatever is understood is answered.
#![no_main]

#[allow(dead_code)]
#[path = "../../../lkas/src/foxglove/protocol.rs"]
mod protocol;

/// What the protocol takes from the messages that it carries.
mod schemas {
    pub(crate) const MESSAGE_ENCODING: &str = "json";
    pub(crate) const SCHEMA_ENCODING: &str = "jsonschema";
}

use protocol::Request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = core::str::from_utf8(bytes).map(protocol::parse_text);
    let requests = [text.unwrap_or_else(|why| Err(why.to_string())), protocol::parse_binary(bytes)];
    for request in requests {
        let answer = match request {
            Err(why) => protocol::error(&why).into_bytes(),
            Ok(Request::Call(call)) => protocol::call_answer(call, &serde_json::json!({"accepted": true})),
            Ok(Request::SetParameters { parameters, id }) => {
                let values = parameters.iter().filter_map(|one| Some((&*one.name, one.value.as_f64()?)));
                protocol::parameter_values(values, id.as_deref()).into_bytes()
            }
            Ok(_) => continue,
        };
        // What is said as text is JSON, whatever it was made of.
        if answer.first() == Some(&b'{') {
            assert!(serde_json::from_slice::<serde_json::Value>(&answer).is_ok());
        }
    }
});
