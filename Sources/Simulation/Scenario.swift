// A scenario is the input of a simulation: the nodes, the network, the load, the faults and the expectations.
// Values only: nothing here draws random numbers or knows of a world.

import Market
import Primitives
import Wire

public struct Scenario: Sendable {
    public var name: String
    /// A one-sentence description.
    public var summary: String
    /// The seed of all random choices of a run.
    public var seed: UInt64
    public var nodes: [NodePlan]
    public var network: NetworkPlan
    public var carrier = Carrier.sealed
    public var load: [LoadPlan] = []
    public var probes: [ProbePlan] = []
    public var events: [PlannedEvent] = []
    public var expect = Expectations()
    /// The bound of every offer book; nil: what a node has. A small one shows what full books do.
    public var offersMax: Int?
    /// After the last task and the last event, nothing is asked or broken for this long; then the final
    /// checks run.
    public var calm = Interval.seconds(3)
    /// A run ends at the latest after this; a task that has not ended by then is a violation.
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
    /// The same packets without cryptography, and one memo of checked signatures shared by all: for thousands
    /// of nodes.
    case plain
}

/// One machine with one node process.
public struct NodePlan: Sendable {
    public var name: String
    public var serves: [ServePlan] = []
    /// When its process starts.
    public var startsAt = Interval.zero
    /// Indices of the nodes by whose addresses it joins.
    public var bootstrap: [Int]
    /// How far its wall clock is ahead of true time.
    public var clockSkew = Interval.zero
    /// False: connections to it are refused, so that it must dial, and its operator says so.
    public var acceptsInbound = true
    /// The NAT in front of it. Behind one, it is given neither an address nor a reachability.
    public var nat = NATKind.none
    /// True: no address is configured, so it must learn its own from its peers. Always so behind a NAT.
    public var learnsAddress = false
    /// Its key was ground so that its id is near this model's topic. Such a node has no process: `Fault.turn`
    /// starts the attacker's program.
    public var groundNear: String?
    /// Its index in `NetworkPlan.regions`.
    public var region = 0

    public init(name: String, bootstrap: [Int] = [0]) {
        self.name = name
        self.bootstrap = bootstrap
    }
}

/// One model that a node sells, and its scripted backend.
public struct ServePlan: Sendable {
    public var model: String
    public var price: Price
    public var slots: Int
    /// Tasks that may wait for a slot; nil: as many as a node's configuration has by default.
    public var places: Int?
    public var tokensPerSecond: Int
    public var firstToken: Interval
    public var context: UInt32 = 8_192
    /// Whether the backend can continue another worker's text.
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

/// How a backend fails: one job in `oneIn`, after `afterTokens` tokens.
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

/// The network between any two machines. Each pair has its own base latency in the range, equal in both
/// directions.
public struct NetworkPlan: Sendable {
    public var latencyMin = Interval.milliseconds(5)
    public var latencyMax = Interval.milliseconds(40)
    /// Added to each datagram's latency, uniform from zero.
    public var jitter = Interval.milliseconds(2)
    public var loss = Chance.never
    public var duplication = Chance.never
    /// A reordered datagram arrives up to `reorderingDelay` later.
    public var reordering = Chance.never
    public var reorderingDelay = Interval.milliseconds(30)
    /// One-way latency between two regions, by their indices; the pair's own latency is added. Empty: one
    /// region.
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
    /// Indices of the nodes that are asked; empty means all.
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
    /// Bytes a second that a client reads; nil: as fast as they arrive.
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

/// Faults of nodes and network. Nodes are named by index.
public enum Fault: Sendable {
    /// SIGKILL: the machine lives on and resets its connections.
    case kill(Int)
    /// The machine vanishes: no peer is told.
    case powerOff(Int)
    /// SIGSTOP and SIGCONT.
    case freeze(Int)
    case thaw(Int)
    /// A new process with the same key, after a kill, a power cut or a leave.
    case restart(Int)
    /// SIGTERM.
    case leave(Int)
    /// The nodes of the list are cut off from all others.
    case partition([Int])
    case heal
    /// The backend is gone: its jobs fail, and its models are not sold until it recovers.
    case backendDown(Int)
    case backendUp(Int)
    /// Kills a node, drawn at random, that is answering another node's task at that moment.
    case killBusy
    /// The same, but freezes it for this long.
    case freezeBusy(Interval)
    /// From now on it receives nothing, and connections to it hang: a node that joined honestly and then
    /// drops requests. It counts neither as up nor as selling.
    case fallSilent(Int)
    /// Recorded handshakes are sent again, with the forged source of this many addresses that never sent one.
    case spoof(Int)
    /// From now on the attacker's program runs in the node's place, with its key and address. It counts
    /// neither as up nor as selling: invariants apply to the other nodes.
    case turn(Int, Hostility)
}

/// Thresholds by name; nil means no threshold.
public struct Expectations: Sendable {
    /// Time after the last node's start within which every node must know every offer.
    public var offersWithin: Interval? = .seconds(30)
    /// Time after a seller begins to leave within which no node may list its offers any more.
    public var leaveWithin: Interval?
    /// Time after a seller's restart within which every node that had joined must know its newest offers.
    public var returnWithin: Interval?
    /// Time after a client's hang-up within which no backend may work on its task any more.
    public var cancelWithin: Interval?
    /// Unanswered calls of one asker to one dead node.
    public var silentCallsMax: Int?
    /// Percentage of delivered tasks, among those whose client stayed and whose asker lived.
    public var deliveredPercentMin: Int?
    /// The longest wait of a client from one delivered byte to the next, over all failovers.
    public var failoverGapMax: Interval?
    /// Number of jobs that slow readers must have paused.
    public var pausesMin: Int?
    public init() {}
}
