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
                moves: true,
                raises: true,
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

    fn bytes(&self, rng: &mut impl Rng, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; rng.random_range(0..=most.saturating_mul(self.long))];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    fn number(&self, rng: &mut impl Rng) -> u64 {
        match rng.random_range(0..6) {
            0 => u64::MAX,
            1 => 1 << rng.random_range(0..64),
            _ => rng.random_range(0..40),
        }
    }

    fn digest(&self, rng: &mut impl Rng) -> (Digest, u64) {
        match self.bundles.choose(rng) {
            Some(known) if rng.random_range(0..4) > 0 => *known,
            _ => (Digest([rng.random(); 32]), self.number(rng)),
        }
    }

    fn bundle(&self, rng: &mut impl Rng) -> (BundleId, u64) {
        let (digest, bytes) = self.digest(rng);
        let kind = if rng.random() {
            BundleKind::Release
        } else {
            BundleKind::Photo
        };
        (BundleId { kind, digest }, bytes)
    }

    fn space(&self, rng: &mut impl Rng) -> SpaceId {
        if rng.random_range(0..4) > 0 {
            SpaceId::of(&self.area)
        } else {
            SpaceId([rng.random(); 8])
        }
    }

    fn other(&self, rng: &mut impl Rng) -> DeviceId {
        self.others
            .choose(rng)
            .copied()
            .unwrap_or(DeviceId([rng.random(); 32]))
    }

    fn chain(&self, rng: &mut impl Rng) -> Option<Chain> {
        let mut known = self.chains.clone();
        known.extend(self.chain.clone());
        let mut chain = known.choose(rng).cloned()?;
        if rng.random_range(0..3) == 0
            && let Some(last) = chain.certificates.last_mut()
        {
            last.add_signature(&DeviceKeys::from_seed([rng.random(); 32]));
        }
        Some(chain)
    }

    fn parts(&self, rng: &mut impl Rng) -> SpaceParts {
        let part = |rng: &mut _| PartDigest {
            class: Rng::next_u32(rng) as u8 % 5,
            count: u64::from(Rng::next_u32(rng)) % 200_000,
            digest: [Rng::next_u32(rng) as u8; 16],
            sketch: vec![Rng::next_u32(rng) as u8; (Rng::next_u32(rng) % 3) as usize * 32],
        };
        let count = rng.random_range(0..5);
        SpaceParts {
            space: self.space(rng),
            parts: (0..count).map(|_| part(rng)).collect(),
        }
    }

    fn envelope(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        match (rng.random_range(0..4), &self.key) {
            (0, _) => self.bytes(rng, 400),
            (1, Some(key)) => {
                let contents = Contents {
                    case: CaseId([rng.random_range(0..4); 16]),
                    changes: vec![self.bytes(rng, 300).into()],
                };
                let sealed = seal(&contents, key, Urgency::Pink, &self.keys, nonce);
                sealed.map_or_else(|_| Vec::new(), |envelope| envelope.bytes().to_vec())
            }
            _ => {
                let (digest, bytes) = self.digest(rng);
                let epoch = self.key.as_ref().map_or([7; 8], SpaceKey::epoch_tag);
                let mut notice = Notice::about(&self.area);
                match rng.random_range(0..4) {
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
                            device: self.other(rng),
                            reason: "lost".into(),
                        }]
                    }
                    _ => {
                        notice.delivered = self.bytes(rng, 64);
                        notice.countersigned = vec![EnvelopeId([rng.random(); 32])];
                    }
                }
                let said = announce(&notice, &self.keys, nonce);
                said.map_or_else(|_| Vec::new(), |envelope| envelope.bytes().to_vec())
            }
        }
    }

    fn document<T: protocol::signed::Document>(
        &self,
        rng: &mut impl Rng,
        document: &T,
    ) -> SignedDocument {
        let bytes = if rng.random() {
            Signed::by(document, &self.keys).to_bytes()
        } else {
            self.bytes(rng, 300)
        };
        SignedDocument { bytes }
    }

    /// One frame of any kind.
    pub fn frame(&self, rng: &mut impl Rng) -> Frame {
        self.frame_of(rng.random_range(0..Self::KINDS), rng)
    }

    /// Kinds of frames that it says: those of the wire, with one that nobody knows.
    pub const KINDS: u8 = 37;

    /// One frame of a kind, counted through the lanes from the first.
    pub fn frame_of(&self, kind: u8, rng: &mut impl Rng) -> Frame {
        match kind {
            0..=4 => self.of_the_meeting(kind, rng),
            5..=12 => self.of_trust(kind, rng),
            13..=24 => self.of_cases(kind, rng),
            33 => Frame::Heard(Heard {
                bytes: self.number(rng),
            }),
            34 => Frame::Resume(Resume {
                meeting: [rng.random(); 16],
                bytes: self.number(rng),
            }),
            35 => Frame::Raise(Raise {
                bytes: self.number(rng),
            }),
            36 => Frame::Join(Join {
                ssid: format!("DIRECT-{:x}", rng.random::<u64>()),
                passphrase: "0123456789abcdef".into(),
                frequency_mhz: rng.random_range(0..8_000),
            }),
            _ => self.of_bundles(kind, rng),
        }
    }

    fn of_the_meeting(&self, kind: u8, rng: &mut impl Rng) -> Frame {
        let lanes = [Lane::Meeting, Lane::Trust, Lane::Cases, Lane::Bundles];
        let lane = lanes[rng.random_range(0..lanes.len())];
        match kind {
            0 => Frame::Hello(Hello {
                version: WIRE_VERSION,
                ministry_tag: [rng.random(); 16],
                nonce: [rng.random(); 16],
                moves: rng.random(),
                raises: rng.random(),
            }),
            1 => Frame::LaneDone(LaneDone { lane }),
            2 => Frame::Coming(Coming {
                lane,
                items: self.number(rng),
                bytes: self.number(rng),
            }),
            3 => Frame::Bye(Bye {
                code: rng.random_range(0..7),
                reason: "\u{1b}[2J".repeat(self.long),
            }),
            _ => {
                let held = HeldDocument {
                    kind: "recall".into(),
                    name: String::new(),
                    version: self.number(rng),
                };
                Frame::Holds(Holds {
                    root_version: self.number(rng),
                    list_version: self.number(rng),
                    held: vec![held; self.long],
                    certificates: self.bytes(rng, 16),
                })
            }
        }
    }

    fn of_trust(&self, kind: u8, rng: &mut impl Rng) -> Frame {
        let issued_s = self.number(rng);
        match kind {
            5 => Frame::Certified(Certified {
                chain: self.chain(rng),
            }),
            6 => match self.root.read() {
                Ok(root) => Frame::Root(self.document(rng, &Root { version: 2, ..root })),
                Err(_) => Frame::Root(SignedDocument { bytes: Vec::new() }),
            },
            7 => {
                let list = ReleaseList {
                    version: self.number(rng),
                    issued_s,
                    ..ReleaseList::default()
                };
                Frame::ReleaseList(self.document(rng, &list))
            }
            8 => Frame::Recall(self.document(
                rng,
                &Recall {
                    version: 9,
                    root: 1,
                    issued_s,
                    recalled: Vec::new(),
                },
            )),
            9 => Frame::Revocations(self.document(
                rng,
                &Revocations {
                    version: 9,
                    root: 1,
                    issued_s,
                    revoked: Vec::new(),
                },
            )),
            10 => Frame::Delegated(SignedDocument {
                bytes: self.bytes(rng, 200),
            }),
            11 => Frame::Beacon(self.document(
                rng,
                &Beacon {
                    time_s: issued_s,
                    root: 1,
                    list: 9,
                    recall: 0,
                },
            )),
            _ => Frame::Renewed(Certified {
                chain: self.chain(rng),
            }),
        }
    }

    fn of_cases(&self, kind: u8, rng: &mut impl Rng) -> Frame {
        match kind {
            13 => Frame::SpaceParts(self.parts(rng)),
            14 => Frame::PartIds(PartIds {
                part: self.number(rng),
                ids: self.bytes(rng, 700),
            }),
            15 => match self.chain(rng) {
                Some(chain) => Frame::AuthorChain(AuthorChain { chain }),
                None => Frame::StepDone(StepDone {
                    step: CaseStep::Finding,
                }),
            },
            16 | 17 => {
                let count = rng.random_range(0..4 * self.long);
                Frame::Envelopes(Envelopes {
                    envelopes: (0..count).map(|_| self.envelope(rng).into()).collect(),
                })
            }
            18 => Frame::StepDone(StepDone {
                step: CaseStep::ALL[rng.random_range(0..CaseStep::ALL.len())],
            }),
            19 => Frame::PartsInStep(self.parts(rng)),
            20 => Frame::PartSymbols(PartSymbols {
                part: self.number(rng),
                first: self.number(rng),
                cells: self.bytes(rng, 2000),
            }),
            21 => Frame::PartMore(PartMore {
                part: self.number(rng),
                heard: self.number(rng),
            }),
            22 => Frame::PartWanted(PartWanted {
                part: self.number(rng),
                ids: self.bytes(rng, 800),
            }),
            23 => Frame::ReceiptsHeld(ReceiptsHeld {
                held: self.bytes(rng, 400),
            }),
            _ => {
                let receipt = self.bytes(rng, 300);
                let carried = self
                    .chain(rng)
                    .map(|chain| CarriedReceipt { receipt, chain });
                Frame::Receipts(Receipts {
                    receipts: carried.into_iter().collect(),
                })
            }
        }
    }

    fn of_bundles(&self, kind: u8, rng: &mut impl Rng) -> Frame {
        let (bundle, bytes) = self.bundle(rng);
        let (first, count) = (self.number(rng), self.number(rng));
        match kind {
            25 => Frame::Have(Have {
                bundle,
                whole: rng.random(),
                tree: rng.random(),
                groups: self.bytes(rng, 20),
                bytes,
            }),
            26 => Frame::Want(Want {
                bundle,
                tree: rng.random(),
                first,
                count,
            }),
            27 => Frame::Tree(Tree {
                bundle,
                offset: first,
                hashes: vec![rng.random(); 32 * rng.random_range(0..5 * self.long)],
            }),
            28 => Frame::Piece(Piece {
                bundle,
                first,
                bytes: self.bytes(rng, 3000),
            }),
            29 => Frame::HavesDone(HavesDone {
                in_company: rng.random(),
            }),
            30 => Frame::HaveAlso(HaveAlso {
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
                lane: rng.random_range(0..6),
                kind: rng.random(),
            },
        }
    }
}
