//! What one frame costs, for every kind of frame in every state of a meeting, from every rank:
//! memory, pieces of memory (which stand for work), bytes answered. A hostile frame may cost what
//! it holds a few times over, and what an honest one may ask for.

mod common;

use std::alloc::System;

use common::CLINIC;
use common::siege::Siege;
use node::agent::{Input, LinkClass, Output};
use protocol::defence::{Defence, without};
use protocol::frame::{CaseStep, Frame, HavesDone, StepDone};
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sim::insider::{Insider, Rank};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Frames of each kind that are said in each state.
const EACH: usize = 4;
/// Bytes that handling a frame may ask for in all: what may be said in answer before the other
/// reads, twice over, and so many times what the frame itself holds.
const BYTES_MAX: usize = 2 * SEND_AHEAD_BYTES_MAX;
const BYTES_PER_BYTE: usize = 8;
/// Pieces of memory, which stand for steps of work: so many, and one for so many bytes of the
/// frame.
const PIECES_MAX: usize = 1_000;
const BYTES_PER_PIECE: usize = 32;
/// The most that a stranger is told in answer to one frame.
const TOLD_STRANGERS_MAX: usize = 2_000;

#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    bytes: usize,
    pieces: usize,
    answered: usize,
}

/// How far a meeting has come: how much of the opening was said, and how many steps are done; who
/// dialed.
fn states(insider: &Insider) -> Vec<(Vec<Frame>, bool)> {
    let mut said = insider.opening();
    said.extend(CaseStep::ALL.map(|step| Frame::StepDone(StepDone { step })));
    said.push(Frame::HavesDone(HavesDone { in_company: false }));
    let upto = |end: usize| said.iter().take(end).cloned().collect::<Vec<_>>();
    (0..=said.len())
        .flat_map(|end| [false, true].map(|dialed| (upto(end), dialed)))
        .collect()
}

/// What the clinic's phone spends on the last frame of a meeting that has come so far.
fn cost(siege: &mut Siege, before: &[Frame], dialed: bool, last: &Frame) -> Cost {
    siege.link += 1;
    let (link, peer) = (siege.link, siege.insider.keys.id());
    let mut first = vec![Input::LinkUp {
        link,
        peer,
        class: LinkClass::Ip,
        dialed,
    }];
    first.push(Input::LinkWritable {
        link,
        bytes: SEND_AHEAD_BYTES_MAX,
    });
    first.extend(before.iter().map(|frame| Input::LinkReceived {
        link,
        bytes: frame.to_bytes(),
    }));
    for input in first {
        siege.road.world.input(CLINIC, input).unwrap();
    }
    let last = Input::LinkReceived {
        link,
        bytes: last.to_bytes(),
    };
    let region = Region::new(ALLOCATOR);
    let outputs = siege.road.world.input(CLINIC, last).unwrap();
    let spent = region.change();
    let sent = |output: &Output| {
        if let Output::Transmit { bytes, .. } = output {
            bytes.len()
        } else {
            0
        }
    };
    let answered = outputs.iter().map(sent).sum();
    siege
        .road
        .world
        .input(
            CLINIC,
            Input::LinkDown {
                link,
                why: "gone".into(),
            },
        )
        .unwrap();
    Cost {
        bytes: spent.bytes_allocated,
        pieces: spent.allocations,
        answered,
    }
}

/// Says every kind of frame in every state; the most that one was answered with. What a frame costs
/// beyond its bounds fails at once.
fn says_everything(rank: Rank, long: usize) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(long as u64);
    let mut siege = Siege::new(rank);
    siege.insider.long = long;
    let states = states(&siege.insider);
    let mut most = 0;
    for (kind, (before, dialed)) in
        (0..Insider::KINDS).flat_map(|kind| states.iter().map(move |s| (kind, s)))
    {
        for _ in 0..EACH {
            let frame = siege.insider.frame_of(kind, &mut rng);
            let size = frame.to_bytes().len();
            let cost = cost(&mut siege, before, *dialed, &frame);
            let what = format!(
                "{} {kind} of {size} bytes after {} frames: {cost:?}",
                rank.name(),
                before.len()
            );
            assert!(cost.bytes <= BYTES_MAX + BYTES_PER_BYTE * size, "{what}");
            assert!(cost.pieces <= PIECES_MAX + size / BYTES_PER_PIECE, "{what}");
            assert!(cost.answered <= SEND_AHEAD_BYTES_MAX, "{what}");
            most = most.max(cost.answered);
        }
    }
    most
}

/// In one test: what others allocate at the same time would be counted too.
#[test]
fn every_frame_in_every_state_costs_little() {
    for rank in Rank::ALL {
        for long in [1, 64] {
            let most = says_everything(rank, long);
            assert!(
                rank != Rank::Stranger || most <= TOLD_STRANGERS_MAX,
                "a stranger was told {most} bytes"
            );
        }
    }
    let open = without(Defence::Strangers, || says_everything(Rank::Stranger, 1));
    assert!(
        open > TOLD_STRANGERS_MAX,
        "the control: a phone that treats strangers as its own says {open} bytes"
    );
}
