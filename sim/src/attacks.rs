//! The attacks that TUF names, and those of our own lanes, as words that a hostile phone says in a
//! meeting.
//!
//! Each is built against a [`Scene`]: what the victim holds. The same talks are kept as fixtures
//! (`sim/attacks/<name>/`) and said by the hostile phones of a simulated village.

use distribution::delegation::{DelegatedList, Delegation};
use distribution::release::Lineage;
use distribution::{Beacon, Release, ReleaseList, Root, tree};
use protocol::certificate::{Right, Rights};
use protocol::frame::*;

use protocol::limits::WIRE_VERSION;
use protocol::signed::{Document, Role};
use protocol::{Area, BundleId, BundleKind, DeviceKeys, Digest, Signed};

use crate::ministry::Ministry;

/// What every attack wants to see running.
pub const EVIL: &[u8] = b"a model that calls everything green";

/// One attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack {
    /// Its name: TUF's, where TUF has one.
    pub name: &'static str,
    /// What it tries, in a sentence.
    pub what: &'static str,
    /// Words of the reason with which it is refused; empty where nothing is refused and nothing
    /// comes of it.
    pub refused: &'static str,
    /// What is said: one delivery after another.
    pub talk: Vec<Vec<u8>>,
}

/// What the victim holds, and what the attacker knows.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The ministry; the attacker has one of its keys.
    pub ministry: Ministry,
    /// The list that the victim holds.
    pub list: ReleaseList,
    /// A bundle that the victim wants and lacks.
    pub wanted: Vec<u8>,
    /// The time of the beacon that the victim holds.
    pub beacon_s: u64,
}

/// Keys of an attacker.
fn stranger(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

/// Who says the attacks: a phone that the ministry has certified to carry, whoever holds it now.
pub fn attacker() -> DeviceKeys {
    stranger(5)
}

/// What a phone of this ministry that holds this list says first.
pub fn greeting(ministry: &Ministry, list_version: u64) -> Vec<Frame> {
    let nonce = [1; 16];
    let ministry_tag = Hello::tag_of(&ministry.root.digest(), &attacker().id(), &nonce);
    let holds = Holds {
        root_version: 1,
        list_version,
        held: Vec::new(),
        certificates: Vec::new(),
    };
    vec![
        Frame::Hello(Hello {
            version: WIRE_VERSION,
            ministry_tag,
            nonce,
            moves: false,
            raises: false,
        }),
        Frame::Holds(holds),
    ]
}

/// Greets, teaches nothing, and shows its certificate: what is needed to be more than a stranger.
pub fn enters(ministry: &Ministry, list_version: u64) -> Vec<Frame> {
    let rights = Rights::of(&[Right::Carry]);
    let chain = ministry.certify(
        &attacker(),
        "carrier",
        &Area::default(),
        rights,
        Rights::default(),
    );
    let mut said = greeting(ministry, list_version);
    said.push(Frame::LaneDone(LaneDone { lane: Lane::Trust }));
    said.push(Frame::Certified(Certified { chain: Some(chain) }));
    said
}

/// The university of the scene's delegation.
pub fn university() -> DeviceKeys {
    stranger(71)
}

/// What the scene's list delegates.
pub fn delegation() -> Delegation {
    Delegation {
        name: "university".into(),
        role: Role::single(university().id()),
        modules: vec!["fine-tune".into()],
        area: Area::parse("north").unwrap_or_default(),
        both: false,
        version_min: 1,
        kinds: Vec::new(),
    }
}

impl Scene {
    /// A ministry's list with a model for everyone, one for another area, one for a newer engine,
    /// and a form that nobody has brought yet.
    pub fn new(ministry: Ministry, model: &[u8], wanted: Vec<u8>, beacon_s: u64) -> Self {
        let elsewhere = Release {
            area: Area::parse("south").unwrap_or_default(),
            ..ministry.release("triage-model", 9, b"a model for the south")
        };
        let newer_engine = Release {
            engine_min: 99,
            ..ministry.release("triage-model-next", 9, b"a model for engine 99")
        };
        let mut releases = vec![
            ministry.release("triage-model", 2, model),
            elsewhere,
            newer_engine,
        ];
        if !wanted.is_empty() {
            releases.push(ministry.release("form-intake", 1, &wanted));
        }
        let list = ReleaseList {
            version: 5,
            issued_s: 1_760_000_005,
            releases,
            delegations: vec![delegation()],
            ..ReleaseList::default()
        };
        Self {
            ministry,
            list,
            wanted,
            beacon_s,
        }
    }

    fn greeting(&self) -> Vec<Frame> {
        greeting(&self.ministry, self.list.version)
    }

    fn enters(&self) -> Vec<Frame> {
        enters(&self.ministry, self.list.version)
    }

    /// The list that the attacker would like to see: the next one, with its own model.
    fn evil_list(&self) -> ReleaseList {
        let mut list = self.list.clone();
        list.version += 1;
        for release in &mut list.releases {
            release.version += 1;
            (release.digest, release.bytes) = (Digest::of(EVIL), EVIL.len() as u64);
        }
        list
    }

    fn offers(&self, document: Frame) -> Vec<Vec<u8>> {
        self.greeting()
            .iter()
            .chain([&document])
            .map(Frame::to_bytes)
            .collect()
    }

    fn offers_list(&self, list: &Signed<ReleaseList>) -> Vec<Vec<u8>> {
        self.offers(Frame::ReleaseList(SignedDocument {
            bytes: list.to_bytes(),
        }))
    }

    fn offers_delegated(&self, list: &DelegatedList) -> Vec<Vec<u8>> {
        let bytes = Signed::by(list, &university()).to_bytes();
        self.offers(Frame::Delegated(SignedDocument { bytes }))
    }

    /// Enters, and says it has this bundle whole.
    fn has(&self, bundle: Digest, bytes: u64, then: Vec<Frame>) -> Vec<Vec<u8>> {
        let bundle = BundleId {
            kind: BundleKind::Release,
            digest: bundle,
        };
        let have = Have {
            bundle,
            whole: true,
            tree: true,
            groups: Vec::new(),
            bytes,
        };
        let mut said = self.enters();
        said.extend([
            Frame::StepDone(StepDone {
                step: CaseStep::Digests,
            }),
            Frame::Have(have),
            Frame::HavesDone(HavesDone { in_company: false }),
        ]);
        said.iter().chain(&then).map(Frame::to_bytes).collect()
    }

    /// Every attack on this scene.
    pub fn attacks(&self) -> Vec<Attack> {
        let mut all = self.on_lists();
        all.extend(self.on_roots_and_notices());
        all.extend(self.on_delegations());
        all.extend(self.on_bundles());
        all
    }

    fn on_lists(&self) -> Vec<Attack> {
        let evil = self.evil_list();
        let one_real = self.ministry.signed_by_some(&evil, 1);
        let mut and_a_stranger = one_real.clone();
        and_a_stranger.add_signature(&stranger(66));
        let far = ReleaseList {
            version: u64::MAX,
            ..evil.clone()
        };
        let mut by_strangers = Signed::by(&evil, &stranger(66));
        by_strangers.add_signature(&stranger(67));
        let mut older = self.list.clone();
        older.version -= 1;
        older.releases.retain(|r| r.module == "triage-model");
        older.releases.iter_mut().for_each(|r| r.version = 1);
        let older = self.ministry.sign(&older);
        let attack = |name, what, refused, list: &Signed<ReleaseList>| Attack {
            name,
            what,
            refused,
            talk: self.offers_list(list),
        };
        vec![
            attack(
                "arbitrary-installation",
                "A list signed by keys of the attacker's own.",
                "0 of the 2 signatures needed",
                &by_strangers,
            ),
            attack(
                "rollback",
                "The list from before, really signed, with the older model.",
                "rollback",
                &older,
            ),
            attack(
                "withdrawn-release-offered-again",
                "A list in which a release that was since withdrawn is current.",
                "rollback",
                &older,
            ),
            attack(
                "fast-forward",
                "A list with the highest version there is, signed by one stolen key, so that no later one would count.",
                "1 of the 2 signatures needed",
                &self.ministry.signed_by_some(&far, 1),
            ),
            attack(
                "key-compromise-below-threshold",
                "A list signed by one stolen key of two needed, and by a stranger.",
                "1 of the 2 signatures needed",
                &and_a_stranger,
            ),
            Attack {
                name: "duplicate-signatures",
                what: "A list that carries the signature of one stolen key twice.",
                refused: "1 of the 2 signatures needed",
                talk: self.offers(Frame::ReleaseList(SignedDocument {
                    bytes: signature_twice(&one_real),
                })),
            },
        ]
    }

    /// What a ministry can do by mistake, and no thief below the threshold can.
    pub fn mistakes(&self) -> Vec<Attack> {
        let empty = ReleaseList {
            version: self.list.version + 1,
            releases: vec![],
            ..self.list.clone()
        };
        vec![Attack {
            name: "vanishing-release",
            what: "A list, really signed by mistake, that leaves releases out without withdrawing them.",
            refused: "without saying that it is withdrawn",
            talk: self.offers_list(&self.ministry.sign(&empty)),
        }]
    }

    fn on_roots_and_notices(&self) -> Vec<Attack> {
        let attack = |name, what, refused, frame: Frame| Attack {
            name,
            what,
            refused,
            talk: self.offers(frame),
        };
        let evil = Role::single(stranger(66).id());
        let next = Root {
            version: 2,
            root: evil.clone(),
            releases: evil.clone(),
            ..self.ministry.first.clone()
        };
        let mut takeover = self.ministry.signed_by_some(&next, 1);
        takeover.add_signature(&stranger(66));
        let one = self.ministry.first.root.keys.first().copied();
        let twice = Role {
            keys: one.into_iter().chain(one).collect(),
            threshold: 2,
        };
        let doubled = self.ministry.sign(&Root {
            version: 2,
            root: twice,
            ..self.ministry.first.clone()
        });
        let skipped = self.ministry.sign(&Root {
            version: 9,
            ..self.ministry.first.clone()
        });
        let root = |signed: &Signed<Root>| {
            Frame::Root(SignedDocument {
                bytes: signed.to_bytes(),
            })
        };
        let beacon = |signed: &Signed<Beacon>| {
            Frame::Beacon(SignedDocument {
                bytes: signed.to_bytes(),
            })
        };
        let ahead = Beacon {
            time_s: self.beacon_s + (100 << 25),
            root: 1,
            list: self.list.version,
            recall: 0,
        };
        let running = self
            .list
            .releases
            .first()
            .map_or(Digest([0; 32]), |r| r.digest);
        let recall = self
            .ministry
            .recall(2, &[running])
            .read()
            .map(|r| Signed::by(&r, &stranger(66)));
        let mut all = vec![
            attack(
                "root-takeover",
                "A next root with the attacker's keys, signed by one stolen root key and by itself.",
                "is not signed by the ministry",
                root(&takeover),
            ),
            attack(
                "duplicate-keys",
                "A root that names one key twice, so that one person makes two.",
                "repeated",
                root(&doubled),
            ),
            attack(
                "skipped-root",
                "A root eight versions on, really signed.",
                "does not follow",
                root(&skipped),
            ),
            attack(
                "replay-of-an-old-beacon",
                "A real beacon of last week, to make the phone believe that nothing is newer.",
                "older than beacon",
                beacon(
                    &self
                        .ministry
                        .beacon(self.beacon_s - 7 * 86_400, self.list.version, 0),
                ),
            ),
            attack(
                "a-future-beacon",
                "A beacon a hundred years ahead, signed by another key than the beacon's.",
                "0 of the 1 signatures needed",
                beacon(&Signed::by(&ahead, &stranger(66))),
            ),
        ];
        if let Ok(recall) = recall {
            all.push(attack(
                "forged-recall",
                "A recall of the model that runs, to leave the worker without it.",
                "0 of the 1 signatures needed",
                Frame::Recall(SignedDocument {
                    bytes: recall.to_bytes(),
                }),
            ));
        }
        all.push(Attack {
            name: "indefinite-freeze",
            what: "Says for ever that nothing is newer. Nothing can be refused; the next beacon shows it.",
            refused: "",
            talk: self.enters().iter().map(Frame::to_bytes).collect(),
        });
        all
    }

    fn on_delegations(&self) -> Vec<Attack> {
        let lineage = Lineage {
            parent: self
                .list
                .releases
                .first()
                .map_or(Digest([0; 32]), |r| r.digest),
            data: "none".into(),
            protocol: "none".into(),
            subgroups: Vec::new(),
            return_to: None,
        };
        let release = |module: &str, area: &str| Release {
            area: Area::parse(area).unwrap_or_default(),
            lineage: Some(lineage.clone()),
            ..self.ministry.release(module, 50, EVIL)
        };
        let list = |name: &str, release| DelegatedList {
            delegation: name.into(),
            version: 1,
            issued_s: 1_760_000_000,
            releases: vec![release],
        };
        vec![
            Attack {
                name: "wrong-delegation",
                what: "A university that may release fine-tunes for the north releases the model for everyone.",
                refused: "may not release triage-model",
                talk: self.offers_delegated(&list("university", release("triage-model", "all"))),
            },
            Attack {
                name: "mix-and-match",
                what: "A list that came through a delegation which the current list does not have.",
                refused: "delegates nothing",
                talk: self.offers_delegated(&list("last-year", release("fine-tune", "north"))),
            },
        ]
    }

    fn on_bundles(&self) -> Vec<Attack> {
        let wanted = Digest::of(&self.wanted);
        let size = self.wanted.len() as u64;
        let id = BundleId {
            kind: BundleKind::Release,
            digest: wanted,
        };
        let list = tree::tree_list(&self.wanted);
        let tree = |hashes: Vec<u8>| {
            Frame::Tree(Tree {
                bundle: id,
                offset: 0,
                hashes,
            })
        };
        let group = |n: usize| {
            self.wanted
                .chunks(16 * 1024)
                .nth(n)
                .unwrap_or_default()
                .to_vec()
        };
        let run = |count: usize| {
            self.wanted
                .chunks(16 * 1024)
                .take(count)
                .flatten()
                .copied()
                .collect::<Vec<_>>()
        };
        let whole_run = tree::group_count(self.wanted.len() as u64).min(16) as usize;
        let mut polluted = run(whole_run);
        if let Some(byte) = polluted.get_mut(1000) {
            *byte ^= 1;
        }
        let mut other_list = list.clone();
        if let Some(byte) = other_list.get_mut(40) {
            *byte ^= 1;
        }
        let piece = |first, bytes| {
            Frame::Piece(Piece {
                bundle: id,
                first,
                bytes,
            })
        };
        let elsewhere = Digest::of(b"a model for the south");
        let alive = |items| {
            Frame::Coming(Coming {
                lane: Lane::Bundles,
                items,
                bytes: 1 << 30,
            })
        };
        let mut endless = self.has(wanted, size, vec![tree(list.clone())]);
        endless.push(u32::MAX.to_le_bytes().to_vec());
        vec![
            Attack {
                name: "piece-pollution",
                what: "The right group hashes, then a piece with one bit changed.",
                refused: "is not what was signed",
                talk: self.has(wanted, size, vec![tree(list.clone()), piece(0, polluted)]),
            },
            Attack {
                name: "tree-pollution",
                what: "Group hashes that belong to another bundle.",
                refused: "do not belong to bundle",
                talk: self.has(wanted, size, vec![tree(other_list)]),
            },
            Attack {
                name: "lying-have-maps",
                what: "Says it has a bundle whole, and answers with a piece that was not asked for.",
                refused: "nobody asked for",
                talk: self.has(wanted, size, vec![tree(list.clone()), piece(3, group(0))]),
            },
            Attack {
                name: "endless-data",
                what: "A frame that says it is four gigabytes long.",
                refused: "over the limit",
                talk: endless,
            },
            Attack {
                name: "slow-retrieval",
                what: "Says it has a bundle whole, and then keeps the line alive without giving it.",
                refused: "",
                talk: self.has(wanted, size, (1..9).map(alive).collect()),
            },
            Attack {
                name: "wrong-software",
                what: "Brings a model for another area, really signed and listed; it is not this phone's.",
                refused: "",
                talk: self.has(elsewhere, 21, Vec::new()),
            },
        ]
    }
}

/// A document that carries its first signature twice, which our own types cannot say.
fn signature_twice<T: Document>(signed: &Signed<T>) -> Vec<u8> {
    let bytes = signed.to_bytes();
    // One signature: map of two, 0: key (2 + 32 bytes), 1: signature (2 + 64 bytes) and the array's
    // head before it.
    let signature = 1 + 1 + 2 + 32 + 1 + 2 + 64;
    let Some((head, one)) = bytes.split_at_checked(bytes.len().saturating_sub(signature)) else {
        return bytes;
    };
    let Some((_, before)) = head.split_last() else {
        return bytes.clone();
    };
    [before, &[0x82], one, one].concat()
}
