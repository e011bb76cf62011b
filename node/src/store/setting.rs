//! The small values that a phone keeps, each by a name that is written here alone.

use protocol::{CaseId, Digest, SpaceId};
use sync::envelope::AuthorKey;
use sync::epoch::EpochTag;

/// The name of one small value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting(String);

/// Small values of one kind, each by what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family(String);

/// Which of this phone's meetings last brought something of an author, by author.
const HEARD: &str = "heard/";
/// Photos of this phone's that no notice may have named yet, by digest.
const PHOTO: &str = "photo/";
/// Photos that are passed on to nobody, because consent to them was withdrawn, by digest.
const WITHHELD: &str = "withheld/";
/// Links between cases, by the case named and the case that says so.
const SAME: &str = "same/";
/// The meetings that are kept, by number.
const MEETING: &str = "meeting/";
/// What is sealed at rest.
const PRIVATE: &str = "private/";

macro_rules! single {
    ($($(#[$doc:meta])* $name:ident = $key:literal;)+) => {
        impl Setting {
            $($(#[$doc])*
            pub fn $name() -> Self {
                Self($key.to_owned())
            })+
        }
    };
}

single! {
    /// This phone's certificates.
    chain = "chain";
    /// What runs, by module.
    activations = "activations";
    /// What the last receipt said.
    receipt = "receipt";
    /// Bytes of bundles that this phone may hold.
    quota = "bundle-quota";
    /// Deltas that made something else than they claim.
    bad_deltas = "bad-deltas";
    /// Complete meetings without news.
    unmoved = "unmoved-since-news";
    /// Bytes of others' envelopes that this phone carries.
    carry_quota = "carry-quota";
    /// Meetings so far.
    meetings = "meetings";
    /// The last day that counted for leases.
    lease_day = "lease-day";
    /// Days on which this phone has been used.
    days_used = "days-used";
    /// The phone of whose backup this one was made.
    restored_from = "restored-from";
    /// Where looking over what lies on the disk goes on.
    scrubbed = "scrubbed";
    /// When something last showed that another phone has this one's key, in seconds since 1970.
    twin = "twin";
    /// How far the file of cases is that is being taken in.
    import_so_far = "import-so-far";
    /// Set once a file of cases was left before all of it was in, until another one is.
    import_given_up = "import-given-up";
    /// Set once the links between cases are kept under the cases that they name.
    links_kept = "links-kept";
}

impl Setting {
    /// Set once a case has left the phone.
    pub fn shared(case: &CaseId) -> Self {
        Self(format!("shared/{case}"))
    }

    /// How a case stands here, as it was found last.
    pub fn now(case: &CaseId) -> Self {
        Self(format!("now/{case}"))
    }

    /// What came of a request.
    pub fn request(request: &[u8; 16]) -> Self {
        Self(format!("request/{}", CaseId(*request)))
    }

    /// The case that another system knows by this digest of a name.
    pub fn known_as(digest: &Digest) -> Self {
        Self(format!("imported/{digest}"))
    }

    /// What files have said of a case: by which numbers it is known, and of when their measurements are.
    pub fn from_files(case: &CaseId) -> Self {
        Self(format!("from-files/{case}"))
    }

    /// Set while a photo of this phone's lies here that no notice may have named yet.
    pub fn photo(blob: &Digest) -> Self {
        Self(format!("{PHOTO}{blob}"))
    }

    /// Set while a photo is passed on to nobody.
    pub fn withheld(blob: &Digest) -> Self {
        Self(format!("{WITHHELD}{blob}"))
    }

    /// Set while one case says of another that both are one patient's.
    pub fn link(named: &CaseId, by: &CaseId) -> Self {
        Self(format!("{SAME}{named}/{by}"))
    }

    /// The day of use on which it was first heard that an epoch is to end.
    pub fn retiring(space: SpaceId, epoch: &EpochTag) -> Self {
        Self(format!("retiring/{space}/{:016x}", number(epoch)))
    }

    /// Days of use that a key's lease has had.
    pub fn lease_used(epoch: &EpochTag) -> Self {
        Self(format!("lease/{:016x}", number(epoch)))
    }

    /// The epoch whose key is locked away.
    pub fn locked(space: SpaceId) -> Self {
        Self(format!("locked/{space}"))
    }

    /// Set once a lock was opened with its code, by the beginning of its nonce: a code serves once.
    pub fn opened(nonce: &[u8; 8]) -> Self {
        Self(format!("opened/{:016x}", number(nonce)))
    }

    /// Days that a keeper leases the keys of a space for.
    pub fn lease_days(space: SpaceId) -> Self {
        Self(format!("lease-days/{space}"))
    }

    /// Up to which envelope of a space this phone has said what has come.
    pub fn noted(space: SpaceId) -> Self {
        Self(format!("noted/{space}"))
    }

    /// Which of this phone's meetings last brought something of an author.
    pub fn heard(author: &AuthorKey) -> Self {
        Self(format!("{HEARD}{:016x}", number(author)))
    }

    /// A meeting that is kept, by its number among those.
    pub fn meeting(number: u64) -> Self {
        Self(format!("{MEETING}{number:03}"))
    }

    /// What was checked of a module before it ran.
    pub fn checks(module: &str) -> Self {
        Self(format!("checks/{module}"))
    }

    /// Something that lies sealed at rest.
    pub fn private(name: &str) -> Self {
        Self(format!("{PRIVATE}{name}"))
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Family {
    /// What was heard of authors.
    pub fn heard() -> Self {
        Self(HEARD.to_owned())
    }

    /// Photos of this phone's.
    pub fn photos() -> Self {
        Self(PHOTO.to_owned())
    }

    /// Photos that are withheld.
    pub fn withheld() -> Self {
        Self(WITHHELD.to_owned())
    }

    /// What cases say of others: the one named, `/`, the one that says it.
    pub fn links() -> Self {
        Self(SAME.to_owned())
    }

    /// What other cases say of one.
    pub fn links_to(named: &CaseId) -> Self {
        Self(format!("{SAME}{named}/"))
    }

    /// Meetings that are kept.
    pub fn meetings() -> Self {
        Self(MEETING.to_owned())
    }

    /// As the names of its settings begin.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn number(tag: &[u8; 8]) -> u64 {
    u64::from_be_bytes(*tag)
}
