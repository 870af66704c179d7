//! Keys at the ports of a network: who is let in, who is turned out.

use super::Broker;
use crate::error::{BindError, Refusal};
use crate::keys::{Allowed, BrokerKeys, Certificate};
use crate::ports::Port;
use crate::socket::Source;
use crate::zap::Gate;
use core::time::Duration;
use std::time::Instant;

/// How often the keys on disk are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a port that was unbound is tried again.
const BIND_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Guard {
    pub(super) gate: Gate,
    keys: BrokerKeys,
    own: Certificate,
    allowed: Allowed,
    look_due: Instant,
    /// When there is something to do though nobody comes.
    pub(super) due: Instant,
    is_bound: bool,
}

impl Guard {
    /// Opens the gate, before the first port that is guarded by it.
    pub(super) fn open(context: &zmq::Context, keys: BrokerKeys) -> Result<Self, BindError> {
        let own = keys.own()?;
        let gate = Gate::open(context).map_err(|source| BindError::Socket { address: String::new(), source })?;
        let look_due = Instant::now() + LOOK_EVERY;
        Ok(Self { gate, own, allowed: keys.allowed(), keys, look_due, due: look_due, is_bound: true })
    }

    pub(super) fn keys(&self) -> &BrokerKeys {
        &self.keys
    }
}

impl Broker {
    /// Lets in who may come in, and turns out who may no longer.
    pub(super) fn guard(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        guard.gate.poll(&guard.allowed);
        let now = Instant::now();
        if now >= guard.look_due {
            guard.look_due = now + LOOK_EVERY;
            let before = core::mem::replace(&mut guard.allowed, guard.keys.allowed());
            let (watchers, commanders) = before.lost(&guard.allowed);
            // A key that is being written just now is read the next time.
            let renewed = guard.keys.own().ok().filter(|own| *own != guard.own);
            let is_new = renewed.is_some();
            guard.own = renewed.unwrap_or_else(|| guard.own.clone());
            // libzmq asks at the handshake alone, so connections that are sent something end here. Whoever only asks is
            // refused message by message, and told so.
            let ports = [
                (&mut self.broadcaster.port, watchers),
                (&mut self.parameters.port, commanders),
                (&mut self.actions, commanders),
                (&mut self.vehicle_status, false),
                (&mut self.action_requests, false),
                (&mut self.parameter_requests, false),
            ];
            for (port, _) in ports.into_iter().filter(|(_, lost)| *lost || is_new) {
                guard.is_bound &= port.turn_out(&guard.keys).is_err();
            }
        }
        if !guard.is_bound {
            let ports = [
                &mut self.broadcaster.port,
                &mut self.parameters.port,
                &mut self.actions,
                &mut self.vehicle_status,
                &mut self.action_requests,
                &mut self.parameter_requests,
            ];
            guard.is_bound = ports.into_iter().map(Port::bind_anew).filter(|is_bound| !is_bound).count() == 0;
        }
        guard.due = if guard.is_bound { guard.look_due } else { now + BIND_EVERY };
    }

    /// Whether that connection may command now. One of this machine, which was not asked for a key, may.
    pub(super) fn permit(&self, source: &Source) -> Result<(), Refusal> {
        let key = source.user.as_deref().filter(|key| !key.is_empty());
        match (key, &self.guard) {
            (Some(key), Some(guard)) if !guard.allowed.may_command(key) => Err(Refusal::NotAllowed),
            _ => Ok(()),
        }
    }
}
