//! The first words of a meeting and the last.

use protocol::always;
use protocol::frame::{Bye, Frame, Hello, Holds};
use protocol::limits::WIRE_VERSION;
use sync::reconcile::MeetingKey;

use super::talk::{End, refuse};
use super::{Meeting, REFUSED, Stage, trust};
use crate::agent::Phone;

impl Meeting {
    pub(super) fn handle_hello(&mut self, hello: &Hello, phone: &mut Phone) -> Result<(), End> {
        let Some(trust) = phone.own.trust.as_ref() else {
            return refuse("this phone is not enrolled");
        };
        if hello.version != WIRE_VERSION {
            return refuse(format!(
                "wire version {} is spoken there, {WIRE_VERSION} here",
                hello.version
            ));
        }
        if hello.ministry_tag != Hello::tag_of(&trust.ministry(), &self.talk.peer, &hello.nonce) {
            return refuse("the other phone belongs to another ministry");
        }
        always!(!self.talk.summary.greeted, "they greet once");
        self.talk.key = Some(MeetingKey::from_nonces(&self.nonce, &hello.nonce));
        self.stage = Stage::Trust;
        self.talk.summary.greeted = true;
        if self.moves && hello.moves {
            self.carrier.both_can_move();
            self.faster.both = phone.radios.can_raise() && hello.raises;
        }
        self.talk.say(Frame::Holds(Holds {
            root_version: trust.root_version(),
            list_version: if trust.list_binds() {
                trust.list_version()
            } else {
                0
            },
            held: trust::held(trust),
            certificates: phone
                .own
                .certificate
                .as_ref()
                .map_or_else(Vec::new, |c| trust::short_chain(&c.id())),
        }));
        Ok(())
    }

    pub(super) fn handle_bye(&mut self, bye: Bye) {
        let reason: String = bye
            .reason
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        if self.stage == Stage::Parting && bye.code == 0 {
            self.talk.summary.complete = true;
            self.abandon("all is said");
        } else if bye.code == 0 && self.everything_done() {
            self.talk.summary.complete = true;
            self.talk.say(Frame::Bye(Bye {
                code: 0,
                reason: "all is said".into(),
            }));
            self.stage = Stage::Over;
            self.over = Some("all is said".into());
        } else {
            self.talk.summary.refused = bye.code == REFUSED;
            self.abandon(&format!("the other phone ended the meeting: {reason}"));
        }
    }
}
