import Primitives

/// Whether a backend may be sold: a state machine without clock or I/O.
///
/// ```
/// checking ──answered──▶ up ──failure──▶ down ──probe after backoff──▶ checking
///     └────failure──▶ down
/// ```
/// One failure that blames the backend is enough to stop bidding: the next probe is half a second away, and a
/// buyer's task costs more than our half second. The backoff doubles from 0.5 s to 30 s and starts anew only when a
/// real answer succeeded, so that a server whose probe passes and whose answers fail isn't sold twice a second.
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
        case .down: return  // jobs that fail with the same server add nothing
        case .checking, .up:
            state = .down(reason: reason, probeAt: now + backoff)
            backoff = min(backoff * 2, backoffMax)
        }
    }

    mutating func startChecking() { state = .checking }
    mutating func checked() { state = .up }
    mutating func answered() { backoff = backoffMin }
}
