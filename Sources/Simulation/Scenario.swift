// A scenario is what a simulation is told: who is there, what lies between them, what is asked, what breaks, and what
// must hold. Values only; nothing here draws chance or knows of a world.

import Market
import Primitives
import Wire

public struct Scenario: Sendable {
    public var name: String
    /// A sentence for people.
    public var summary: String
    /// Everything random in a run follows from it.
    public var seed: UInt64
    public var nodes: [NodePlan]
    public var network: NetworkPlan
    public var carrier = Carrier.sealed
    public var load: [LoadPlan] = []
    public var probes: [ProbePlan] = []
    public var events: [PlannedEvent] = []
    public var expect = Expectations()
    /// After the last task has ended and the last event has happened, nothing is asked or broken for so long; then the
    /// final checks run.
    public var calm = Interval.seconds(3)
    /// A run ends here at the latest; a task without an end by then is a violation.
    public var timeLimit = Interval.minutes(15)

    public init(
        name: String, summary: String, seed: UInt64, nodes: [NodePlan], network: NetworkPlan = NetworkPlan()
    ) {
        self.name = name
        self.summary = summary
        self.seed = seed
        self.nodes = nodes
        self.network = network
    }
}

/// How datagrams are carried.
public enum Carrier: String, Sendable, CaseIterable {
    /// Real handshakes and sealed packets; every peer checks every signature.
    case sealed
    /// The same packets without cryptography, and one memo of checked signatures for all: for thousands of nodes.
    case plain
}

/// One machine with one node process on it.
public struct NodePlan: Sendable {
    public var name: String
    public var serves: [ServePlan] = []
    /// When its process starts.
    public var startsAt = Interval.zero
    /// Indices of the nodes whose addresses it is given to join by.
    public var bootstrap: [Int]
    /// What its wall clock is ahead of the true time.
    public var clockSkew = Interval.zero
    /// False: connections to it are refused, so that it must dial, and its operator says so.
    public var acceptsInbound = true
    /// What stands before it. Behind a NAT it is told no address of its own and no reachability.
    public var nat = NATKind.none
    /// True: nobody told it its address, which it must learn from its peers; behind a NAT that is always so.
    public var learnsAddress = false
    /// Its key was ground so that its id is near this model's topic. Such a node has no process: `Fault.turn` starts the
    /// attacker's program.
    public var groundNear: String?
    /// Its row in `NetworkPlan.regions`.
    public var region = 0

    public init(name: String, bootstrap: [Int] = [0]) {
        self.name = name
        self.bootstrap = bootstrap
    }
}

/// One model that a node sells, and the scripted backend behind it.
public struct ServePlan: Sendable {
    public var model: String
    public var price: Price
    public var slots: Int
    public var tokensPerSecond: Int
    public var firstToken: Interval
    public var context: UInt32 = 8_192
    /// Whether the backend can go on from another's text.
    public var continues = true
    public var failure: BackendFailurePlan?

    public init(
        model: String, price: Price = Price(input: 100_000, cachedInput: 50_000, output: 400_000),
        slots: Int = 2,
        tokensPerSecond: Int = 50, firstToken: Interval = .milliseconds(60)
    ) {
        self.model = model
        self.price = price
        self.slots = slots
        self.tokensPerSecond = max(1, tokensPerSecond)
        self.firstToken = firstToken
    }
}

/// How a backend disappoints: one job in `oneIn`, after `afterTokens` tokens.
public struct BackendFailurePlan: Sendable {
    public enum Kind: Sendable { case error, hang }
    public var kind: Kind
    public var oneIn: Int
    public var afterTokens: Int
    public init(_ kind: Kind, oneIn: Int, afterTokens: Int) {
        self.kind = kind
        self.oneIn = max(1, oneIn)
        self.afterTokens = afterTokens
    }
}

/// What lies between any two machines. Each pair has its own base latency in the range, the same both ways.
public struct NetworkPlan: Sendable {
    public var latencyMin = Interval.milliseconds(5)
    public var latencyMax = Interval.milliseconds(40)
    /// Added to each datagram's latency, uniform from zero.
    public var jitter = Interval.milliseconds(2)
    public var loss = Chance.never
    public var duplication = Chance.never
    /// A datagram that is overtaken: it comes up to `reorderingDelay` later.
    public var reordering = Chance.never
    public var reorderingDelay = Interval.milliseconds(30)
    /// One way between two regions, by their numbers; the pair's own latency comes on top. Empty: one region.
    public var regions: [[Interval]] = []
    /// Silence after which a NAT forgets a mapping.
    public var natIdle = Interval.seconds(60)
    public init() {}
}

/// Tasks that clients submit.
public struct LoadPlan: Sendable {
    public var tasks: Int
    public var from: Interval
    /// Time between two tasks, on average.
    public var every: Interval
    public var arrivals = Arrivals.scattered
    /// How the rate changes with the time of day; nil: not at all.
    public var curve: RateCurve?
    /// Indices of the nodes that are asked. Empty: all.
    public var askers: [Int] = []
    public var models: [String]
    public var tokensMin = 10
    public var tokensMax = 30
    public var lengths = Lengths.uniform
    /// Tokens of a prompt, and what each turn of a conversation adds to it; 0: what the request's body has by itself.
    public var promptTokens = 0
    /// Each task is the first of a conversation; nil: tasks stand alone.
    public var conversation: ConversationPlan?
    public var deadline = Interval.seconds(60)
    public var resumable = true
    /// Bytes a second that a client reads; nil: as fast as they come.
    public var readsBytesPerSecond: Int?
    /// Clients that hang up, at a random moment within `hangUpWithin` of their submission.
    public var hangUp = Chance.never
    public var hangUpWithin = Interval.seconds(2)
    /// The most that a client pays for output; nil: any price.
    public var maxOutputPrice: Int64?

    public init(tasks: Int, from: Interval, every: Interval, models: [String]) {
        self.tasks = tasks
        self.from = from
        self.every = every
        self.models = models
    }
}

public struct PlannedEvent: Sendable {
    public var at: Interval
    public var fault: Fault
    public init(at: Interval, _ fault: Fault) {
        self.at = at
        self.fault = fault
    }
}

/// What happens to nodes and network. Nodes are named by index.
public enum Fault: Sendable {
    /// SIGKILL: the machine lives on and resets its connections.
    case kill(Int)
    /// The machine vanishes: nobody is told anything.
    case powerOff(Int)
    /// SIGSTOP and SIGCONT.
    case freeze(Int)
    case thaw(Int)
    /// A new process with the same key after a kill, a power cut or a leave.
    case restart(Int)
    /// SIGTERM.
    case leave(Int)
    /// The nodes of the list are cut off from all others.
    case partition([Int])
    case heal
    /// The backend is gone: its jobs fail, and nothing is sold until it recovers.
    case backendDown(Int)
    case backendUp(Int)
    /// A node that is answering somebody at that moment, drawn at random (the asker's own is spared).
    case killBusy
    /// The same, frozen for so long.
    case freezeBusy(Interval)
    /// From now on it hears nothing from anyone, and a connection to it hangs: a node that joined honestly and then
    /// drops what it is asked. It counts neither as up nor as selling.
    case fallSilent(Int)
    /// Handshakes heard before are sent again, as if they came from so many addresses that never asked.
    case spoof(Int)
    /// From now on the attacker's program runs in the node's place, with its key and at its address. It counts neither as
    /// up nor as selling: what must hold must hold among the others.
    case turn(Int, Hostility)
}

/// Thresholds by name; what is nil is not demanded.
public struct Expectations: Sendable {
    /// Every node knows every offer so soon after the last node has started.
    public var offersWithin: Interval? = .seconds(30)
    /// Nobody lists an offer any more so soon after its seller began to leave.
    public var leaveWithin: Interval?
    /// No backend works on a task any more so soon after its client hung up.
    public var cancelWithin: Interval?
    /// Calls to one dead node that one asker leaves unanswered.
    public var silentCallsMax: Int?
    /// Tasks delivered, of those whose client stayed and whose asker lived, in percent.
    public var deliveredPercentMin: Int?
    /// The client's longest wait from a delivered byte to the next, over all failovers.
    public var failoverGapMax: Interval?
    /// Jobs that readers must have held back.
    public var pausesMin: Int?
    public init() {}
}
