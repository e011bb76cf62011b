//! A hostile insider: a phone of any rank in other hands, that says whatever frames it likes, drawn
//! from all kinds there are, with the words of somebody who knows the ministry, its releases and
//! its spaces.

use clinical::Urgency;
use distribution::{Beacon, Recall, ReleaseList, Revocations, Root};
use protocol::certificate::{Right, Rights};
use protocol::frame::*;
use protocol::limits::WIRE_VERSION;
use protocol::{
    Area, BundleId, BundleKind, CaseId, Chain, DeviceId, DeviceKeys, Digest, EnvelopeId, Signed,
    SpaceId,
};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use sync::envelope::{Contents, announce, seal};
use sync::notice::{Attached, Lost};
use sync::{Notice, SpaceKey};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Anybody on the same network, with no certificate.
    Stranger,
    /// Carries, reads and writes.
    Worker,
    /// Carries, enrols and says who is lost.
    Supervisor,
    /// Keeps a space.
    Keeper,
}

impl Rank {
    /// All of them.
    pub const ALL: [Rank; 4] = [Rank::Stranger, Rank::Worker, Rank::Supervisor, Rank::Keeper];

    /// What the ministry has certified; nothing of a stranger.
    pub fn rights(self) -> Option<Rights> {
        use Right::{Carry, Enrol, Grant, Read, Revoke, Write};
        match self {
            Rank::Stranger => None,
            Rank::Worker => Some(Rights::of(&[Carry, Read, Write])),
            Rank::Supervisor => Some(Rights::of(&[Carry, Enrol, Revoke])),
            Rank::Keeper => Some(Rights::of(&[Carry, Read, Write, Grant])),
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Rank::Stranger => "stranger",
            Rank::Worker => "worker",
            Rank::Supervisor => "supervisor",
            Rank::Keeper => "keeper",
        }
    }
}

/// What the insider knows.
#[derive(Debug, Clone)]
pub struct Insider {
    /// Its own keys.
    pub keys: DeviceKeys,
    /// Its certificates, if it has any.
    pub chain: Option<Chain>,
    /// The ministry's first root.
    pub root: Signed<Root>,
    /// The area whose space is attacked.
    pub area: Area,
    /// A key of that space, as far as its rank has one.
    pub key: Option<SpaceKey>,
    /// Bundles that it has heard of, with their bytes.
    pub bundles: Vec<(Digest, u64)>,
    /// Certificates of others.
    pub chains: Vec<Chain>,
    /// Phones that it would like to harm.
    pub others: Vec<DeviceId>,
    /// How many times longer its frames are than they need be to be of their kind: 1, or up to what
    /// a frame may hold.
    pub long: usize,
}

impl Insider {
    /// What a phone says until lanes are open.
    pub fn opening(&self) -> Vec<Frame> {
        let nonce = [3; 16];
        let ministry_tag = Hello::tag_of(&self.root.digest(), &self.keys.id(), &nonce);
        vec![
            Frame::Hello(Hello {
                version: WIRE_VERSION,
                ministry_tag,
                nonce,
            }),
            Frame::Holds(Holds {
                root_version: 1,
                list_version: 1,
                held: Vec::new(),
                certificates: Vec::new(),
            }),
            Frame::LaneDone(LaneDone { lane: Lane::Trust }),
            Frame::Certified(Certified {
                chain: self.chain.clone(),
            }),
        ]
    }

    fn bytes(&self, dice: &mut impl Rng, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; dice.random_range(0..=most.saturating_mul(self.long))];
        dice.fill_bytes(&mut bytes);
        bytes
    }

    fn number(&self, dice: &mut impl Rng) -> u64 {
        match dice.random_range(0..6) {
            0 => u64::MAX,
            1 => 1 << dice.random_range(0..64),
            _ => dice.random_range(0..40),
        }
    }

    fn digest(&self, dice: &mut impl Rng) -> (Digest, u64) {
        match self.bundles.choose(dice) {
            Some(known) if dice.random_range(0..4) > 0 => *known,
            _ => (Digest([dice.random(); 32]), self.number(dice)),
        }
    }

    fn bundle(&self, dice: &mut impl Rng) -> (BundleId, u64) {
        let (digest, bytes) = self.digest(dice);
        let kind = if dice.random() {
            BundleKind::Release
        } else {
            BundleKind::Photo
        };
        (BundleId { kind, digest }, bytes)
    }

    fn space(&self, dice: &mut impl Rng) -> SpaceId {
        if dice.random_range(0..4) > 0 {
            SpaceId::of(&self.area)
        } else {
            SpaceId([dice.random(); 8])
        }
    }

    fn other(&self, dice: &mut impl Rng) -> DeviceId {
        self.others
            .choose(dice)
            .copied()
            .unwrap_or(DeviceId([dice.random(); 32]))
    }

    fn chain(&self, dice: &mut impl Rng) -> Option<Chain> {
        let mut known = self.chains.clone();
        known.extend(self.chain.clone());
        let mut chain = known.choose(dice).cloned()?;
        if dice.random_range(0..3) == 0
            && let Some(last) = chain.certificates.last_mut()
        {
            last.add_signature(&DeviceKeys::from_seed([dice.random(); 32]));
        }
        Some(chain)
    }

    fn parts(&self, dice: &mut impl Rng) -> SpaceParts {
        let part = |dice: &mut _| PartDigest {
            class: Rng::next_u32(dice) as u8 % 5,
            count: u64::from(Rng::next_u32(dice)) % 200_000,
            digest: [Rng::next_u32(dice) as u8; 16],
            sketch: vec![Rng::next_u32(dice) as u8; (Rng::next_u32(dice) % 3) as usize * 32],
        };
        let count = dice.random_range(0..5);
        SpaceParts {
            space: self.space(dice),
            parts: (0..count).map(|_| part(dice)).collect(),
        }
    }

    fn envelope(&self, dice: &mut impl Rng) -> Vec<u8> {
        let mut nonce = [0; 24];
        dice.fill_bytes(&mut nonce);
        match (dice.random_range(0..4), &self.key) {
            (0, _) => self.bytes(dice, 400),
            (1, Some(key)) => {
                let contents = Contents {
                    case: CaseId([dice.random_range(0..4); 16]),
                    changes: vec![self.bytes(dice, 300).into()],
                };
                let sealed = seal(&contents, key, Urgency::Pink, &self.keys, nonce);
                sealed.map_or_else(|_| Vec::new(), |envelope| envelope.bytes().to_vec())
            }
            _ => {
                let (digest, bytes) = self.digest(dice);
                let epoch = self.key.as_ref().map_or([7; 8], SpaceKey::epoch_tag);
                let mut notice = Notice::about(&self.area);
                match dice.random_range(0..4) {
                    0 => {
                        notice.attached = Some(Attached {
                            digest,
                            bytes,
                            epoch,
                        })
                    }
                    1 => notice.retired = vec![epoch.into()],
                    2 => {
                        notice.revoked = vec![Lost {
                            device: self.other(dice),
                            reason: "lost".into(),
                        }]
                    }
                    _ => {
                        notice.delivered = self.bytes(dice, 64);
                        notice.countersigned = vec![EnvelopeId([dice.random(); 32])];
                    }
                }
                let said = announce(&notice, &self.keys, nonce);
                said.map_or_else(|_| Vec::new(), |envelope| envelope.bytes().to_vec())
            }
        }
    }

    fn document<T: protocol::signed::Document>(
        &self,
        dice: &mut impl Rng,
        document: &T,
    ) -> SignedDocument {
        let bytes = if dice.random() {
            Signed::by(document, &self.keys).to_bytes()
        } else {
            self.bytes(dice, 300)
        };
        SignedDocument { bytes }
    }

    /// One frame of any kind.
    pub fn frame(&self, dice: &mut impl Rng) -> Frame {
        self.frame_of(dice.random_range(0..Self::KINDS), dice)
    }

    /// Kinds of frames that it says: those of the wire, with one that nobody knows.
    pub const KINDS: u8 = 33;

    /// One frame of a kind, counted through the lanes from the first.
    pub fn frame_of(&self, kind: u8, dice: &mut impl Rng) -> Frame {
        match kind {
            0..=4 => self.of_the_meeting(kind, dice),
            5..=12 => self.of_trust(kind, dice),
            13..=24 => self.of_cases(kind, dice),
            _ => self.of_bundles(kind, dice),
        }
    }

    fn of_the_meeting(&self, kind: u8, dice: &mut impl Rng) -> Frame {
        let lanes = [Lane::Meeting, Lane::Trust, Lane::Cases, Lane::Bundles];
        let lane = lanes[dice.random_range(0..lanes.len())];
        match kind {
            0 => Frame::Hello(Hello {
                version: WIRE_VERSION,
                ministry_tag: [dice.random(); 16],
                nonce: [dice.random(); 16],
            }),
            1 => Frame::LaneDone(LaneDone { lane }),
            2 => Frame::Coming(Coming {
                lane,
                items: self.number(dice),
                bytes: self.number(dice),
            }),
            3 => Frame::Bye(Bye {
                code: dice.random_range(0..7),
                reason: "\u{1b}[2J".repeat(self.long),
            }),
            _ => {
                let held = HeldDocument {
                    kind: "recall".into(),
                    name: String::new(),
                    version: self.number(dice),
                };
                Frame::Holds(Holds {
                    root_version: self.number(dice),
                    list_version: self.number(dice),
                    held: vec![held; self.long],
                    certificates: self.bytes(dice, 16),
                })
            }
        }
    }

    fn of_trust(&self, kind: u8, dice: &mut impl Rng) -> Frame {
        let issued_s = self.number(dice);
        match kind {
            5 => Frame::Certified(Certified {
                chain: self.chain(dice),
            }),
            6 => match self.root.read() {
                Ok(root) => Frame::Root(self.document(dice, &Root { version: 2, ..root })),
                Err(_) => Frame::Root(SignedDocument { bytes: Vec::new() }),
            },
            7 => {
                let list = ReleaseList {
                    version: self.number(dice),
                    issued_s,
                    ..ReleaseList::default()
                };
                Frame::ReleaseList(self.document(dice, &list))
            }
            8 => Frame::Recall(self.document(
                dice,
                &Recall {
                    version: 9,
                    root: 1,
                    issued_s,
                    recalled: Vec::new(),
                },
            )),
            9 => Frame::Revocations(self.document(
                dice,
                &Revocations {
                    version: 9,
                    root: 1,
                    issued_s,
                    revoked: Vec::new(),
                },
            )),
            10 => Frame::Delegated(SignedDocument {
                bytes: self.bytes(dice, 200),
            }),
            11 => Frame::Beacon(self.document(
                dice,
                &Beacon {
                    time_s: issued_s,
                    root: 1,
                    list: 9,
                    recall: 0,
                },
            )),
            _ => Frame::Renewed(Certified {
                chain: self.chain(dice),
            }),
        }
    }

    fn of_cases(&self, kind: u8, dice: &mut impl Rng) -> Frame {
        match kind {
            13 => Frame::SpaceParts(self.parts(dice)),
            14 => Frame::PartIds(PartIds {
                part: self.number(dice),
                ids: self.bytes(dice, 700),
            }),
            15 => match self.chain(dice) {
                Some(chain) => Frame::AuthorChain(AuthorChain { chain }),
                None => Frame::StepDone(StepDone {
                    step: CaseStep::Finding,
                }),
            },
            16 | 17 => {
                let count = dice.random_range(0..4 * self.long);
                Frame::Envelopes(Envelopes {
                    envelopes: (0..count).map(|_| self.envelope(dice).into()).collect(),
                })
            }
            18 => Frame::StepDone(StepDone {
                step: CaseStep::ALL[dice.random_range(0..CaseStep::ALL.len())],
            }),
            19 => Frame::PartsInStep(self.parts(dice)),
            20 => Frame::PartSymbols(PartSymbols {
                part: self.number(dice),
                first: self.number(dice),
                cells: self.bytes(dice, 2000),
            }),
            21 => Frame::PartMore(PartMore {
                part: self.number(dice),
                heard: self.number(dice),
            }),
            22 => Frame::PartWanted(PartWanted {
                part: self.number(dice),
                ids: self.bytes(dice, 800),
            }),
            23 => Frame::ReceiptsHeld(ReceiptsHeld {
                held: self.bytes(dice, 400),
            }),
            _ => {
                let receipt = self.bytes(dice, 300);
                let carried = self
                    .chain(dice)
                    .map(|chain| CarriedReceipt { receipt, chain });
                Frame::Receipts(Receipts {
                    receipts: carried.into_iter().collect(),
                })
            }
        }
    }

    fn of_bundles(&self, kind: u8, dice: &mut impl Rng) -> Frame {
        let (bundle, bytes) = self.bundle(dice);
        let (first, count) = (self.number(dice), self.number(dice));
        match kind {
            25 => Frame::Have(Have {
                bundle,
                whole: dice.random(),
                tree: dice.random(),
                groups: self.bytes(dice, 20),
                bytes,
            }),
            26 => Frame::Want(Want {
                bundle,
                tree: dice.random(),
                first,
                count,
            }),
            27 => Frame::Tree(Tree {
                bundle,
                offset: first,
                hashes: vec![dice.random(); 32 * dice.random_range(0..5 * self.long)],
            }),
            28 => Frame::Piece(Piece {
                bundle,
                first,
                bytes: self.bytes(dice, 3000),
            }),
            29 => Frame::HavesDone(HavesDone {
                in_company: dice.random(),
            }),
            30 => Frame::Got(Got {
                bundle,
                first,
                count,
            }),
            31 => Frame::Lacks(Lacks {
                bundle,
                first,
                count,
            }),
            _ => Frame::Unknown {
                lane: dice.random_range(0..6),
                kind: dice.random(),
            },
        }
    }
}
