//! What screens show, as plain records: serialized they are what `--json` prints, each with the name
//! of its schema (`app/tests/schemas` holds one example of each).

pub mod carry;
pub mod case;
pub mod cases;
pub mod events;
pub mod exchange;
pub mod idle;
pub mod meetings;
pub mod plan;
pub mod releases;
pub mod status;
pub mod visit;

/// Names an enum of every view, so that one channel can carry them all.
macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident($view:ty),)*) => {
        /// An answer: one of the views.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub enum Reply {
            $($(#[$doc])* $name(Box<$view>),)*
        }

        $(
            impl From<$view> for Reply {
                fn from(view: $view) -> Self {
                    Self::$name(Box::new(view))
                }
            }

            impl TryFrom<Reply> for $view {
                type Error = crate::api::Refusal;

                fn try_from(reply: Reply) -> Result<Self, Self::Error> {
                    match reply {
                        Reply::$name(view) => Ok(*view),
                        _ => Err(crate::api::Refusal::Nothing),
                    }
                }
            }
        )*

        impl Reply {
            /// The view itself, for whoever writes it down.
            pub fn view(&self) -> &dyn erased::View {
                match self {
                    $(Self::$name(view) => &**view,)*
                }
            }
        }
    };
}

/// A view whose type is not known to whoever writes it down.
pub mod erased {
    /// Writes itself as JSON.
    pub trait View {
        /// The view as JSON with the name of its schema.
        ///
        /// # Errors
        /// Never, as all its keys are text.
        fn to_json(&self) -> serde_json::Result<serde_json::Value>;
    }

    impl<T: serde::Serialize> View for T {
        fn to_json(&self) -> serde_json::Result<serde_json::Value> {
            serde_json::to_value(self)
        }
    }
}

replies! {
    /// [`status::Status`].
    Status(status::Status),
    /// [`status::Document`]s.
    Documents(status::Documents),
    /// Receipts of phones.
    Receipts(status::Receipts),
    /// Certificates of phones.
    Certificates(status::Certificates),
    /// A phone.
    Phone(status::Phone),
    /// This phone's request for a certificate.
    EnrolRequest(status::EnrolRequest),
    /// An answer to such a request, or a grant.
    Enrolment(status::Enrolment),
    /// A grant.
    Granted(status::Granted),
    /// Something is done.
    Done(status::Done),
    /// A code that unlocks.
    Code(status::Code),
    /// Closed cases are gone.
    Retired(status::Retired),
    /// What is set aside.
    SetAside(status::SetAside),
    /// What the phone has cost.
    Idle(idle::Idle),
    /// A copy was made.
    BackedUp(status::BackedUp),
    /// Things were put into a folder.
    CarriedOut(carry::CarriedOut),
    /// Things were taken from a folder.
    CarriedIn(carry::CarriedIn),
    /// Releases.
    Releases(releases::Releases),
    /// A release that runs.
    Release(releases::Active),
    /// A release that was checked again.
    Verified(releases::Verified),
    /// A bundle was taken in.
    Imported(releases::Imported),
    /// A meeting.
    Meeting(meetings::Meeting),
    /// Meetings that are kept.
    Meetings(meetings::Meetings),
    /// A case.
    Case(case::Case),
    /// A case that was begun.
    CaseNew(case::CaseNew),
    /// A case that was decided on.
    Decided(case::Decided),
    /// What was said of a case, in order.
    History(case::History),
    /// What to do for a patient.
    CasePlan(plan::CasePlan),
    /// The list of cases.
    Cases(cases::Cases),
    /// Cases that may be one patient's.
    Duplicates(cases::Duplicates),
    /// Cases that are somebody else's now.
    HandedOver(cases::HandedOver),
    /// A photo that was written to a file.
    PhotoOut(case::PhotoOut),
    /// A picture that was looked at.
    PhotoLooked(case::PhotoLooked),
    /// Cases that left as a file.
    Exported(exchange::Exported),
    /// Cases that came by a file.
    CasesImported(exchange::Imported),
    /// An assessment.
    Assessment(clinical::Assessment),
    /// A visit.
    Visit(visit::Visit),
    /// Whether a visit was interrupted.
    VisitOpen(visit::VisitOpen),
    /// The end of a visit.
    VisitEnd(visit::VisitEnd),
}
