import ArgumentParser
import Discovery
import Primitives
import Simulation

/// Lookups among up to a million nodes by the real lookup code, with tables filled from the distribution of
/// ids.
struct LookupStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup-study",
        abstract: "Lookups in a simulated table of any size; prints one JSON object.")
    @Option var nodes = 10_000
    @Option var lookups = 500
    @Option(help: "Contacts that never answer, per mille.") var dead = 0
    @Option(help: "Colluding nodes, per mille.") var colluders = 0
    @Option(help: "Lost datagrams, per mille.") var loss = 0
    @Option var seed: UInt64 = 1

    func run() {
        var plan = RoutingStudy.Plan()
        plan.nodes = nodes
        plan.lookups = lookups
        plan.deadPerMille = dead
        plan.colludersPerMille = colluders
        plan.lossPerMille = loss
        plan.seed = seed
        let report = RoutingStudy.run(plan)
        func quantile(_ perMille: Int, _ values: [Int]) -> Int {
            RoutingStudy.Report.quantile(perMille, of: values) ?? 0
        }
        let latency = report.latency.map { Int($0.milliseconds) }
        let fields = [
            "\"success\": \(report.success)", "\"rounds_p50\": \(quantile(500, report.rounds))",
            "\"rounds_p99\": \(quantile(990, report.rounds))",
            "\"asked_p50\": \(quantile(500, report.asked))",
            "\"ms_p50\": \(quantile(500, latency))", "\"ms_p99\": \(quantile(990, latency))",
            "\"node_bytes\": \(report.tableBytes + report.fixedBytes)",
        ]
        print("{\(fields.joined(separator: ", "))}")
    }
}

/// Searches for a topic's providers among ids ground around it, compared with storage at the k closest nodes.
struct RendezvousStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rendezvous-study",
        abstract: "Provider searches among ground ids; prints one JSON object.")
    @Option var nodes = 10_000
    @Option(help: "Ids ground next to the topic.") var hostile = 64
    @Flag(help: "Place them where searches and registrations meet instead of nearest to the topic.")
    var meeting = false
    @Option(help: "Their behaviour: lying, dropping, or both in turn.") var behaviour = "both"
    @Option var providers = 20
    @Option var searches = 100
    @Option(help: "One question in this many goes to the near end; 0 means none.") var nearEvery =
        DiscoveryParameters().searchNearEvery
    @Option(help: "Registrars of a provider in each distance bucket.") var registrars =
        DiscoveryParameters().registrarsPerBucket
    @Option(help: "Nodes that a search asks in each distance bucket.") var asked =
        DiscoveryParameters().askedPerBucket
    @Option(help: "Questions of a search in flight.") var inFlight = DiscoveryParameters().searchInFlightMax
    @Option var seed: UInt64 = 1

    func run() throws {
        var plan = RendezvousStudy.Plan()
        plan.nodes = nodes
        plan.hostile = hostile
        plan.placement = meeting ? .meeting : .nearest
        switch behaviour {
        case "lying": plan.behaviours = [.lying]
        case "dropping": plan.behaviours = [.dropping]
        case "both": break
        default: throw ValidationError("--behaviour \(behaviour): lying, dropping or both")
        }
        plan.providers = providers
        plan.searches = searches
        plan.parameters.searchNearEvery = max(0, nearEvery)
        plan.parameters.registrarsPerBucket = max(1, registrars)
        plan.parameters.askedPerBucket = max(1, asked)
        plan.parameters.searchInFlightMax = max(1, inFlight)
        plan.seed = seed
        let report = RendezvousStudy.run(plan)
        func quantile(_ perMille: Int, _ values: [Int]) -> Int {
            RoutingStudy.Report.quantile(perMille, of: values) ?? 0
        }
        let fields = [
            "\"succeeded\": \(report.succeeded)", "\"closest_succeeded\": \(report.closestSucceeded)",
            "\"searches\": \(report.searches)", "\"asked_p50\": \(quantile(500, report.asked))",
            "\"honest_least\": \(report.honest.first ?? 0)",
            "\"honest_p50\": \(quantile(500, report.honest))",
            "\"lies_p50\": \(quantile(500, report.lies))",
            "\"first_ms_p50\": \(quantile(500, report.firstHonest))",
            "\"first_ms_p99\": \(quantile(990, report.firstHonest))",
        ]
        print("{\(fields.joined(separator: ", "))}")
    }
}

/// A node's table under attackers' introductions, and restarts among them.
struct EclipseStudyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eclipse-study",
        abstract: "Tables and restarts among many ids in few networks; prints one JSON object.")
    @Option var nodes = 1_000
    @Option(help: "Ids of the attackers.") var hostile = 1_000
    @Option(help: "Number of /24 networks they are in.") var networks = 4
    @Option(help: "Introductions of attackers per second and victim.") var pushes = 200
    @Option var restarts = 200
    @Option(help: "Honest live nodes among a restarting node's 64 anchors.") var anchors = 8
    @Option var seed: UInt64 = 1

    func run() {
        var plan = EclipseStudy.Plan()
        plan.nodes = nodes
        plan.hostile = hostile
        plan.networks = networks
        plan.pushesPerSecond = pushes
        plan.restarts = restarts
        plan.anchorsHonest = anchors
        plan.seed = seed
        let report = EclipseStudy.run(plan)
        let fields = [
            "\"slots_per_24_max\": \(report.slotsMax)",
            "\"hostile_share_settled\": \(Double(report.hostileSettled) / 1_000)",
            "\"hostile_share_restarted\": \(Double(report.hostileRestarted) / 1_000)",
            "\"restarts\": \(report.restarts)", "\"reached_two\": \(report.reachedTwo)",
            "\"reached_ms_p50\": \(RoutingStudy.Report.quantile(500, of: report.reachedAfter) ?? -1)",
            "\"reached_ms_p99\": \(RoutingStudy.Report.quantile(990, of: report.reachedAfter) ?? -1)",
            "\"lookups\": \(report.lookups)", "\"found\": \(report.found)",
        ]
        print("{\(fields.joined(separator: ", "))}")
    }
}
