import Primitives

/// Whether a backend may be offered: a state machine without clock or I/O.
///
/// ```
/// checking ──answered──▶ up ──failure──▶ down ──probe after backoff──▶ checking
///     └────failure──▶ down
/// ```
/// One failure that blames the backend is enough to stop bidding: the next probe is half a second away, and a
/// failed task costs a buyer more than that pause costs us. A failure that may be the request's own is none yet:
/// the backend stays up while a trial in the background decides. The backoff doubles from 0.5 s to 30 s. It is
/// reset only by a real answer, so that a server whose probes pass and whose answers fail isn't offered twice
/// a second.
struct HealthMachine {
    let backoffMin: Interval
    let backoffMax: Interval

    enum State: Hashable {
        case checking
        case up
        case down(reason: BackendFailure, probeAt: MonotonicTime)
    }

    private(set) var state = State.checking
    private(set) var backoff: Interval

    init(backoffMin: Interval, backoffMax: Interval) {
        self.backoffMin = backoffMin
        self.backoffMax = backoffMax
        backoff = backoffMin
    }

    var probeAt: MonotonicTime {
        if case .down(_, let at) = state { at } else { .never }
    }

    mutating func failed(_ reason: BackendFailure, now: MonotonicTime) {
        switch state {
        case .down: return  // further jobs that fail with the server change nothing
        case .checking, .up:
            state = .down(reason: reason, probeAt: now + backoff)
            backoff = min(backoff * 2, backoffMax)
        }
    }

    mutating func startChecking() { state = .checking }
    mutating func checked() { state = .up }
    mutating func answered() { backoff = backoffMin }
}
