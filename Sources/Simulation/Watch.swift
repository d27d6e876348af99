import Primitives
import Wire

/// What must hold, by name. A name stays what it is: scripts and people search for it.
public enum Invariant: String, CaseIterable, Sendable {
    /// Every task ends once: delivered, refused with a reason, cancelled, or failed with a named reason.
    case oneEnd = "one_end"
    /// The client's text is the reference, byte for byte.
    case exactText = "exact_text"
    /// No backend runs more jobs than its slots.
    case slotsRespected = "slots_respected"
    /// When nothing runs, no slot, channel or request is held.
    case nothingLeaks = "nothing_leaks"
    /// A channel counts as busy only while a machine's task is on it.
    case channelsOwned = "channels_owned"
    /// Every table stays within its bound.
    case tablesBounded = "tables_bounded"
    /// No honest node keeps a contact that says that another honest node is where it is not.
    case contactsGenuine = "contacts_genuine"
    /// Answers to an address that never proved itself don't outweigh what came from there.
    case outNotOverIn = "out_not_over_in"
    /// What one node is owed, others owe: balances sum to zero. Where faults may lose a receipt on its way, workers count
    /// less than their buyers have signed, and never more.
    case balancesSum = "balances_sum"
    /// No worker counts a receipt for more than it delivered, by its own count and at its own price.
    case paidForWork = "paid_for_work"
    /// In the calm every node knows every offer.
    case offersConverge = "offers_converge"
    /// Nobody lists what a node that left had on offer.
    case leaveKnown = "leave_known"
    /// Every node that had joined lists a restarted seller again, its contacts in the newest version.
    case returnKnown = "return_known"
    /// What fills an offer book keeps no honest seller out of it: no model that the node sells or asks for, and no
    /// seller that came when the book was full.
    case roomKept = "room_kept"
    /// A hang-up stops the backend.
    case cancelReaches = "cancel_reaches"
    /// A dead node costs each asker few unanswered calls.
    case deadCostLittle = "dead_cost_little"
    case enoughDelivered = "enough_delivered"
    case failoverQuick = "failover_quick"
    /// A client that doesn't read holds its worker back.
    case readersHoldBack = "readers_hold_back"
    /// A tick does what is due.
    case timersMove = "timers_move"
    /// Where nothing fails, no node is taken for dead: what a node's own bounds do is no fault of others.
    case blameless
    /// Nobody is paid for an answer of which its client got nothing.
    case noPayForNothing = "no_pay_for_nothing"
    /// No client gets, or pays, more than it asked for.
    case limitsHold = "limits_hold"
}

public struct Violation: Sendable, CustomStringConvertible {
    public var invariant: Invariant
    public var at: MonotonicTime
    public var node: String?
    public var detail: String

    public var description: String {
        let seconds = Report.number(at.nanoseconds, unit: 1_000_000_000, decimals: 3)
        return "\(invariant.rawValue) at \(seconds) s\(node.map { " (\($0))" } ?? ""): \(detail)"
    }
}

/// What the checkers remember.
struct Watch {
    static let every: Int64 = 100_000_000

    struct Leave {
        var host: Int32
        var at: Int64
        var knownAfter: Int64?
    }

    struct Return {
        var host: Int32
        var incarnation: Int
        var at: Int64
        /// `.max`: it ended again before.
        var knownAfter: Int64?
    }

    struct Silence {
        var asker: Int32
        var dead: Int32
        var calls: Int
    }

    var openClients = 0
    var openProbes = 0
    var lastStart: Int64 = 0
    /// When every node knew every offer for the first time.
    var convergedAt: Int64?
    /// Nodes below this index knew every offer at the last look; spares a look at them until all do.
    var knowing: [Bool] = []
    var leaves: [Leave] = []
    var returns: [Return] = []
    var silences: [Silence] = []
    var lateConvergenceReported = false
}
