//! Foxglove's protocol on the viewer's port, between a real broker and a client's WebSocket.
#![allow(missing_docs)]

#[path = "support/served.rs"]
mod served;

use core::net::SocketAddr;
use lkas_messages::names::Category;
use lkas_messages::{DetectionFields, Lane};
use lkas_zmq::wire::{CLAIM_COMMANDS, FrameHeader};
use lkas_zmq::{ActionClient, Broker, ParameterClient, Topic};
use serde_json::{Value, json};
use served::{MOMENT, PATIENCE, System};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use tungstenite::{Error, Message, WebSocket, client, client::IntoClientRequest};

/// What Foxglove does, without the panels.
struct Client {
    socket: WebSocket<TcpStream>,
    texts: VecDeque<Value>,
    binaries: VecDeque<Vec<u8>>,
    pings: usize,
    is_closed: bool,
}

/// A client's request for the WebSocket, and what the viewer says to it where it refuses.
fn request(address: SocketAddr, path: &str, protocol: &str, origin: &str) -> Result<Client, (u16, String)> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in [("Sec-WebSocket-Protocol", protocol), ("Origin", origin)] {
        if !value.is_empty() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    match client(request, stream) {
        Ok((socket, answer)) => {
            assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
            socket.get_ref().set_read_timeout(Some(MOMENT)).unwrap();
            Ok(Client { socket, texts: VecDeque::new(), binaries: VecDeque::new(), pings: 0, is_closed: false })
        }
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
            let words = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            Err((answer.status().as_u16(), words))
        }
        Err(why) => panic!("{why}"),
    }
}

impl Client {
    /// A client that may command, and the channels by their topics.
    fn commanding(system: &mut System) -> Self {
        let path = format!("/?token={}", system.token);
        request(system.address, &path, "foxglove.sdk.v1", "https://app.foxglove.dev").expect("it is let in")
    }

    fn say(&mut self, request: &Value) {
        self.socket.send(Message::text(request.to_string())).unwrap();
    }

    /// Takes what has arrived; what it reads answers pings, too.
    fn listen(&mut self) {
        match self.socket.read() {
            Ok(Message::Text(text)) => self.texts.push_back(serde_json::from_str(&text).unwrap()),
            Ok(Message::Binary(bytes)) => self.binaries.push_back(bytes.to_vec()),
            Ok(Message::Ping(_)) => self.pings += 1,
            Ok(Message::Close(_)) => self.is_closed = true,
            Ok(_) => {}
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.is_closed = true,
        }
        match self.socket.flush() {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.is_closed = true,
        }
    }

    /// The next text with this `op`; those before it are dropped.
    fn text(&mut self, op: &str) -> Option<Value> {
        self.listen();
        while let Some(text) = self.texts.pop_front() {
            if text["op"] == op {
                return Some(text);
            }
        }
        None
    }

    /// The next message of that subscription, with its time; those of others are dropped.
    fn message(&mut self, subscription: u32) -> Option<(u64, Value)> {
        self.listen();
        while let Some(bytes) = self.binaries.pop_front() {
            if bytes[0] == 1 && bytes[1..5] == subscription.to_le_bytes() {
                let time = u64::from_le_bytes(bytes[5..13].try_into().unwrap());
                return Some((time, serde_json::from_slice(&bytes[13..]).unwrap()));
            }
        }
        None
    }

    fn call(&mut self, service: u64, call: u32) {
        let mut bytes = vec![2];
        bytes.extend((service as u32).to_le_bytes());
        bytes.extend(call.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(b"json{}");
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    /// The answer to the call with that number.
    fn answer(&mut self, call: u32) -> Option<Value> {
        self.listen();
        while let Some(bytes) = self.binaries.pop_front() {
            if bytes[0] == 3 && bytes[5..9] == call.to_le_bytes() {
                assert_eq!(bytes[9..17], *b"\x04\0\0\0json");
                return Some(serde_json::from_slice(&bytes[17..]).unwrap());
            }
        }
        None
    }
}

/// The numbers of channels or services by their names.
fn numbers(list: &Value, name: &str) -> impl Fn(&str) -> u64 {
    let numbers: Vec<(String, u64)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry[name].as_str().unwrap().to_owned(), entry["id"].as_u64().unwrap()))
        .collect();
    move |wanted| numbers.iter().find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("{wanted}: {numbers:?}")).1
}

fn header(frame_id: u64) -> FrameHeader {
    FrameHeader { frame_id, timestamp: 12.5, width: 800, height: 600, ..FrameHeader::default() }
}

#[test]
fn frames_and_lanes_arrive_under_the_time_of_the_frame() {
    let mut system = System::start();
    for (path, protocol) in [("/", "foxglove.sdk.v1"), ("/", "foxglove.websocket.v1"), ("/foxglove", "foxglove.sdk.v1")]
    {
        let mut client = request(system.address, path, protocol, "").expect("programs may watch");
        let info = system.until("what the server can do", |_| client.text("serverInfo"));
        assert_eq!(info["supportedEncodings"], json!(["json"]));
    }
    let mut client = Client::commanding(&mut system);
    let channels = system.until("channels", |_| client.text("advertise"))["channels"].take();
    let channel = numbers(&channels, "topic");
    for channel in channels.as_array().unwrap() {
        let schema: Value = serde_json::from_str(channel["schema"].as_str().unwrap()).unwrap();
        assert_eq!((&schema["type"], &channel["schemaEncoding"]), (&json!("object"), &json!("jsonschema")));
    }
    system.until("the viewer subscribes", |broker| broker.has_viewers(Topic::State).then_some(()));
    assert!(!system.broker.has_viewers(Topic::Frame), "frames are not asked for before somebody wants them");
    let subscribe: Vec<Value> = [(7, "/camera_feed"), (8, "/lanes"), (9, "/lane_detection"), (10, "/events")]
        .map(|(id, topic)| json!({"id": id, "channelId": channel(topic)}))
        .into();
    client.say(&json!({"op": "subscribe", "subscriptions": subscribe}));
    system.until("somebody wants frames", |broker| broker.has_viewers(Topic::Frame).then_some(()));

    assert!(system.broker.broadcast_frame(&header(5), b"\xff\xd8\xff").is_sent());
    let (time, image) = system.until("a frame", |_| client.message(7));
    assert_eq!((time, &image["timestamp"]), (12_500_000_000, &json!({"sec": 12, "nsec": 500_000_000})));
    assert_eq!((&image["format"], &image["data"]), (&json!("jpeg"), &json!("/9j/")));

    let lane = Lane { x1: 100.0, y1: 600.0, x2: 300.0, y2: 350.0, confidence: 0.5 };
    let detection = DetectionFields { left: Some(lane), frame_id: 5, ..DetectionFields::default() };
    let send = |broker: &mut Broker| assert!(broker.broadcast_detection(&detection).is_sent());
    send(&mut system.broker);
    let (time, lanes) = system.until("lanes", |_| client.message(8));
    assert_eq!(time, 12_500_000_000, "that of the frame in which they were found");
    assert_eq!(lanes["points"][0]["points"], json!([{"x": 100.0, "y": 600.0}, {"x": 300.0, "y": 350.0}]));
    send(&mut system.broker);
    let (_, detection) = system.until("a detection", |_| client.message(9));
    assert_eq!((&detection["left_lane"]["x2"], detection.get("right_lane")), (&json!(300.0), None));

    let event = json!({"number": 3, "age_s": 1.0, "words": "the writer died"});
    let status = json!({"vehicle": {"severe": true}, "processes": [{"name": "simulation", "events": [event]}]});
    assert!(system.broker.broadcast_status(&status).is_sent());
    let (_, event) = system.until("an event", |_| client.message(10));
    assert_eq!((&event["message"], &event["name"]), (&json!("the writer died"), &json!("simulation")));

    client.say(&json!({"op": "unsubscribe", "subscriptionIds": [7]}));
    system.until("nobody wants frames", |broker| (!broker.has_viewers(Topic::Frame)).then_some(()));
}

#[test]
fn a_client_that_does_not_read_gets_the_newest_and_none_between() {
    let mut system = System::start();
    let mut client = Client::commanding(&mut system);
    let channels = system.until("channels", |_| client.text("advertise"))["channels"].take();
    let wanted = json!([{"id": 0, "channelId": numbers(&channels, "topic")("/vehicle_control")}]);
    client.say(&json!({"op": "subscribe", "subscriptions": wanted}));
    // Until the subscription counts, nothing of it comes; where a viewer is slow, what is too much for it is dropped.
    let tell = |broker: &mut Broker, id: u64| drop(broker.broadcast_telemetry(&json!({"frame_id": id})));
    system.until("the first", |broker| {
        tell(broker, 0);
        client.message(0)
    });
    client.listen(); // the ping of the first is answered
    // Who follows the same on the page knows when the viewer has had it.
    let mut other = Client::commanding(&mut system);
    other.say(&json!({"op": "subscribe", "subscriptions": wanted}));
    for id in 1..=50 {
        system.until("the same at another client", |broker| {
            tell(broker, id);
            core::iter::from_fn(|| other.message(0)).find(|(_, value)| value["frame_id"] == id)
        });
    }
    let mut seen = Vec::new();
    system.until("the newest", |_| {
        seen.extend(client.message(0).map(|(_, value)| value["frame_id"].as_u64().unwrap()));
        (seen.last() == Some(&50)).then_some(())
    });
    assert!(seen.len() <= 3, "what waited was sent: {} messages", seen.len());
}

#[test]
fn parameters_are_told_set_and_followed() {
    let mut system = System::start();
    let mut server = ParameterClient::connect(system.broker.endpoint(), Category::Decision, |_, _| ()).unwrap();
    let mut client = Client::commanding(&mut system);
    let set = |value: Value| json!({"op": "setParameters", "parameters": [{"name": "decision.kp", "value": value}], "id": "s"});
    client.say(&set(json!(1.25)));
    let values = system.until("the value in force", |_| {
        server.poll().unwrap();
        let values = client.text("parameterValues")?;
        // Before the server has found the broker there is no value in force, and the client is told so.
        let is_known = values["parameters"] != json!([]);
        if !is_known {
            client.say(&set(json!(1.25)));
        }
        is_known.then_some(values)
    });
    assert_eq!(values["id"], "s");
    assert_eq!(values["parameters"], json!([{"name": "decision.kp", "type": "float64", "value": 1.25}]));

    let mut other = Client::commanding(&mut system);
    other.say(&json!({"op": "getParameters", "parameterNames": [], "id": "all"}));
    let all = system.until("all values", |_| other.text("parameterValues"));
    assert_eq!((&all["id"], &all["parameters"]), (&json!("all"), &values["parameters"]));
    other.say(&json!({"op": "subscribeParameterUpdates", "parameterNames": ["decision.kp"]}));
    other.say(&json!({"op": "getParameters", "parameterNames": ["none"], "id": "followed"}));
    let none = system.until("an answer", |_| other.text("parameterValues"));
    assert_eq!((&none["id"], &none["parameters"]), (&json!("followed"), &json!([])));
    client.say(&set(json!(0.5)));
    let news = system.until("a change by somebody else", |_| {
        server.poll().unwrap();
        other.text("parameterValues").filter(|news| news["parameters"][0]["value"] == 0.5)
    });
    assert_eq!(news.get("id"), None);

    for (value, words) in [(json!(9), "0 to 2"), (json!("much"), "number"), (Value::Null, "number")] {
        client.say(&set(value));
        let error = system.until("a refusal", |_| client.text("status"));
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}

#[test]
fn actions_are_services() {
    let mut system = System::start();
    for action in ["pause", "emergency_stop"] {
        system.broker.register_action(action.parse().unwrap(), |_| ());
    }
    let mut simulation = ActionClient::connect(system.broker.endpoint()).unwrap();
    let mut client = Client::commanding(&mut system);
    let services = system.until("services", |_| client.text("advertiseServices"))["services"].take();
    let service = numbers(&services, "name");
    for (call, action) in [(1, "pause"), (2, "emergency_stop")] {
        client.call(service(&format!("/{action}")), call);
        let mut came = false;
        let answer = system.until("an answer", |_| {
            came |= simulation.poll().unwrap().is_some_and(|asked| asked.action.as_str() == action);
            client.answer(call)
        });
        assert_eq!(answer["accepted"], true, "{answer}");
        if answer["delivered"] == true && !came {
            system.until("the simulation learns", |_| {
                simulation.poll().unwrap().filter(|asked| asked.action.as_str() == action)
            });
        }
    }
    client.call(99, 3);
    let failure = system.until("a failure", |_| client.text("serviceCallFailure"));
    assert_eq!((&failure["callId"], &failure["serviceId"]), (&json!(3), &json!(99)));
}

/// Somebody else has the lease and does what the client may not do: what the broker says to one is no answer to the other.
#[test]
fn an_answer_to_somebody_else_is_none_to_the_client() {
    let mut system = System::start();
    system.broker.register_action("pause".parse().unwrap(), |_| ());
    let mut client = Client::commanding(&mut system);
    let services = system.until("services", |_| client.text("advertiseServices"))["services"].take();
    let pause = numbers(&services, "name")("/pause");
    let holder = zmq::Context::new().socket(zmq::PUB).unwrap();
    holder.connect(&format!("tcp://127.0.0.1:{}", system.broker.endpoint().action_request_port())).unwrap();
    let asks = |action: &str, id: u32| {
        let params = json!({"holder": "somebody else"});
        let object = json!({"action": action, "params": params, "client": "secret", "id": id});
        holder.send_multipart(["action".as_bytes(), object.to_string().as_bytes()], 0).unwrap();
    };
    system.until("the lease is held", |broker| {
        asks(CLAIM_COMMANDS, 0);
        broker.lease()
    });
    for call in 1..=20 {
        asks("pause", call);
        client.call(pause, call);
        let answer = system.until("an answer", |_| client.answer(call));
        assert_eq!(answer["accepted"], false, "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains("somebody else"), "{answer}");
    }
    assert_eq!(system.broker.statistics().actions.refused, 20, "the others were obeyed");
}

#[test]
fn who_may_watch_may_not_command() {
    let mut system = System::start();
    let mut stranger = request(system.address, "/", "foxglove.websocket.v1", "").expect("programs may watch");
    stranger.call(0, 1);
    let failure = system.until("a failure", |_| stranger.text("serviceCallFailure"));
    assert!(failure["message"].as_str().unwrap().contains("token"), "{failure}");
    stranger.say(&json!({"op": "setParameters", "parameters": [{"name": "decision.kp", "value": 1}]}));
    let error = system.until("a refusal", |_| stranger.text("status"));
    assert!(error["message"].as_str().unwrap().contains("token"), "{error}");
    assert_eq!(system.broker.statistics().parameters.received, 0);
    assert_eq!(system.broker.statistics().actions.received, 0);

    let right = format!("/?token={}", system.token);
    for (path, protocol, origin, status, words) in [
        ("/", "foxglove.sdk.v1", "https://app.foxglove.dev", 403, "token"),
        ("/foxglove", "foxglove.sdk.v1", "null", 403, "token"),
        ("/?token=guess", "foxglove.sdk.v1", "", 403, "not the token"),
        (right.as_str(), "another.v1", "", 400, "foxglove.sdk.v1"),
        ("/foxglove", "", "", 400, "foxglove.websocket.v1"),
    ] {
        let refused = request(system.address, path, protocol, origin).err().expect("a refusal");
        assert!(refused.0 == status && refused.1.contains(words), "{path} {protocol} {origin}: {refused:?}");
    }
}

#[test]
fn garbage_is_answered_and_forgotten() {
    let mut system = System::start();
    let mut client = Client::commanding(&mut system);
    let unknown = json!({"op": "subscribe", "subscriptions": [{"id": 1, "channelId": 99}]}).to_string();
    let texts = ["", "null", "[[[[", r#"{"op":"advertise","channels":[]}"#, r#"{"op":"call"}"#, &unknown];
    let binaries: [&[u8]; 4] = [b"", b"\x02", b"\xff\xff", b"\x02\0\0\0\0\0\0\0\0\xff\xff\xff\xff"];
    let messages = texts.map(Message::text).into_iter().chain(binaries.map(|bytes| Message::binary(bytes.to_vec())));
    for message in messages {
        client.socket.send(message.clone()).unwrap();
        let error = system.until("an error", |_| client.text("status"));
        assert_eq!(error["level"], 2, "{message:?}: {error}");
    }
    // Far too long: this connection ends, and no other.
    let mut other = Client::commanding(&mut system);
    let _ = client.socket.send(Message::text("x".repeat(1_000_000)));
    system.until("the end", |_| {
        client.listen();
        client.is_closed.then_some(())
    });
    other.say(&json!({"op": "getParameters", "parameterNames": [], "id": "here"}));
    system.until("others are served", |_| other.text("parameterValues"));
}
