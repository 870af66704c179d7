//! Who is let in where keys are asked for: libzmq asks here at each handshake (ZAP, <https://rfc.zeromq.org/spec/27>).

use crate::keys::Allowed;

/// Domain of the port that broadcasts: for who may watch.
pub(crate) const WATCH: &str = "watch";
/// Domain of the ports that take requests: whoever may watch is let in, to be answered, and to stop in an emergency.
pub(crate) const ASK: &str = "ask";
/// Domain of the ports of servers and the vehicle.
pub(crate) const COMMAND: &str = "command";

/// Handshakes that one call looks at.
const MAX_PER_CALL: usize = 64;

/// Answers libzmq's questions in one context.
pub(crate) struct Gate {
    socket: zmq::Socket,
}

impl Gate {
    pub(crate) fn open(context: &zmq::Context) -> zmq::Result<Self> {
        let socket = context.socket(zmq::ROUTER)?;
        socket.set_linger(0)?;
        socket.bind("inproc://zeromq.zap.01")?;
        Ok(Self { socket })
    }

    pub(crate) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Answers what libzmq has asked, and never waits.
    pub(crate) fn poll(&self, allowed: &Allowed) {
        for _ in 0..MAX_PER_CALL {
            // A question that can't be read is not answered, and nobody is let in.
            let Ok(parts) = self.socket.recv_multipart(zmq::DONTWAIT) else { break };
            let [asker, empty, version, request, domain, _address, _identity, mechanism, credentials @ ..] = &parts[..]
            else {
                continue;
            };
            let user = match (&mechanism[..], credentials) {
                (b"CURVE", [key]) => zmq::z85_encode(key).ok().filter(|key| may(allowed, domain, key)),
                // Ports of this machine alone, which ask for no keys, have no domain.
                (b"NULL", []) if domain.is_empty() => Some(String::new()),
                _ => None,
            };
            // Not 400, after which a client of libzmq's never tries again: its key may be put on the list. After 300 the
            // handshake hangs until it has taken too long, and the client comes anew.
            let (code, text) = if user.is_some() { ("200", "OK") } else { ("300", "this key is not on the list") };
            let user = user.unwrap_or_default();
            let answer: [&[u8]; 8] =
                [asker, empty, version, request, code.as_bytes(), text.as_bytes(), user.as_bytes(), b""];
            // Without an answer the handshake fails, and is tried again.
            let _ = self.socket.send_multipart(answer, zmq::DONTWAIT);
        }
    }
}

fn may(allowed: &Allowed, domain: &[u8], key: &str) -> bool {
    match domain {
        domain if domain == WATCH.as_bytes() || domain == ASK.as_bytes() => allowed.may_watch(key),
        domain if domain == COMMAND.as_bytes() => allowed.may_command(key),
        _ => false,
    }
}
