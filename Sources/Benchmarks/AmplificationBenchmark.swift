import ArgumentParser
import FuzzEntries

struct AmplificationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "amplification",
        abstract: "Bytes out per byte in, before a source address is proven.",
        discussion: """
            Floods from strangers against a whole node, random programs against sessions and a node, and every \
            message kind in every unproven state, counted at the carrier. Prints one line of JSON.
            """)
    @Option(help: "Seeds of each kind.") var seeds: Int = 100

    func run() {
        var storms = (ratio: 0.0, answers: 0)
        var programs = (ratio: 0.0, answers: 0)
        var kinds = (ratio: 0.0, answers: 0)
        func add(_ one: (ratio: Double, answers: Int), to sum: inout (ratio: Double, answers: Int)) {
            sum = (max(sum.ratio, one.ratio), sum.answers + one.answers)
        }
        for seed in 1...UInt64(max(1, seeds)) {
            add(Amplification.storm(seed), to: &storms)
            add(Amplification.sessions(seed), to: &programs)
            add(Amplification.peer(seed), to: &programs)
        }
        for state in Amplification.states {
            for kind in 0..<Amplification.kinds {
                for padding in [0, 352, 1_024] {
                    add(Amplification.one(kind: kind, state: state, paddedTo: padding), to: &kinds)
                }
            }
        }
        print(
            """
            {"storms": \(storms.ratio), "storm_answers": \(storms.answers), "programs": \(programs.ratio), \
            "program_answers": \(programs.answers), "kinds": \(kinds.ratio), "kind_answers": \(kinds.answers)}
            """)
    }
}
