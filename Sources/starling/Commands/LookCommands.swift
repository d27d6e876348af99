import ArgumentParser
import FoundationEssentials
import Glibc
import MeshDocuments
import Primitives

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "What your node serves, earns and lacks, on one screen.",
        discussion: """
            Shows how the node can be reached, the state of each model server, its \
            bids, the tasks that were asked here, what was sold today (UTC), in seven \
            days and ever, by model and by buyer, which calls were refused and why, \
            what was earned, and the one thing to change.
            """
    )

    @OptionGroup var door: DoorOptions

    func run() async throws {
        try await reporting {
            guard let status = try door.document("/mesh/status", as: StatusDocument.self) else { return }
            let name =
                status.name.isEmpty
                ? shortID(status.nodeID) : "\(status.name) (\(shortID(status.nodeID)))"
            var lines = [
                "\(name)  \(status.state.rawValue) · reach \(Self.text(status.reach)) · \(counted(status.peers, "peer")) · mesh \(status.mesh) · up \(Self.duration(status.uptimeSeconds))",
                "join with   starling://\(status.publicKey)@\(status.reach.endpoint ?? "ADDRESS:PORT")",
            ]
            for model in status.models {
                let detail =
                    model.backend.error.map { ": \($0)" } ?? model.backend.busyUntil.map {
                        " until \($0) (its server answered 429 or 503)"
                    } ?? ""
                let backend = "backend \(model.backend.state)\(detail)"
                let speed = model.tokensPerSecond.map { " · \($0.text(decimals: 0)) tok/s" } ?? ""
                let queue =
                    model.places > 0 ? " · \(model.waiting) of \(model.places) places in its queue taken" : ""
                let won = Double(model.bids.won) / Double(model.bids.made) * 100
                let share = model.bids.made > 0 ? " (\(won.text(decimals: 0)) %)" : ""
                lines.append(
                    "\(model.model)  \(model.slotsBusy) of \(model.slots) slots busy\(queue) · \(backend)\(speed) · \(counted(model.bids.calls, "call")) for bids: \(model.bids.declined) declined, \(model.bids.made) bid on: won \(model.bids.won)\(share), lost \(model.bids.lost)"
                )
                if let left = model.terms.quietMinutes {
                    lines.append("  quiet     for \(Self.duration(Int64(left) * 60)): `quiet` of its terms")
                }
                lines += model.backend.differences.map { "  differs   \($0)" }
            }
            lines += [
                "asked here  \(status.tasks.running) running, \(status.tasks.delivered) delivered, \(status.tasks.refused) refused, \(status.tasks.failed) failed, \(status.tasks.cancelled) cancelled",
                "earned      \(MicroCredits.text(status.earned.microCredits)) cr from \(counted(status.earnedFrom, "node")) · spent \(MicroCredits.text(status.spent.microCredits)) cr (a credit is a claim on one node, not a coin)",
            ]
            if let sold = status.sold { lines += SoldText.lines(sold) }
            for node in status.join where !node.reached {
                lines.append("join        \(node.problem ?? "trying \(node.url)")")
            }
            if let fix = status.reach.fix, !status.join.contains(where: { $0.problem == fix }) {
                lines.append("reach       \(fix)")
            }
            if let next = status.next { lines.append("next        \(next)") }
            emit(lines.map { Printable.line($0) + "\n" }.joined())
        }
    }

    /// `direct (tested 4 min ago by 3 networks)`
    static func text(_ reach: ReachDocument) -> String {
        guard let tested = reach.tested else { return reach.state }
        return
            "\(reach.state) (tested \(duration(tested.ageSeconds)) ago by \(counted(tested.networks, "network")))"
    }

    static func duration(_ seconds: Int64) -> String {
        seconds < 120
            ? "\(seconds) s"
            : seconds < 7200 ? "\(seconds / 60) min" : "\(seconds / 3600) h \(seconds / 60 % 60) min"
    }
}

struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Take no new work; running answers finish. `starling resume` undoes it."
    )
    @OptionGroup var door: DoorOptions
    func run() async throws {
        try await Self.post(
            "/mesh/pause", "paused: no new work; running answers finish. `starling resume` takes work again.",
            door)
    }

    static func post(_ path: String, _ done: String, _ door: DoorOptions) async throws {
        try await reporting {
            let response = try door.client().post(path)
            guard response.status < 300 else { throw door.refused(response) }
            if door.json { emit(json: String(decoding: response.body, as: UTF8.self)) } else { remark(done) }
        }
    }
}

struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Take work again after `starling pause`.")
    @OptionGroup var door: DoorOptions
    func run() async throws { try await PauseCommand.post("/mesh/resume", "serving again.", door) }
}

struct PeersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers", abstract: "The nodes that a node knows.",
        discussion: """
            A name in quotes is what the node calls itself, which any node can; one \
            without is yours, from `names` in the configuration. Balances are per \
            peer; a positive one is owed to this node. --json adds the datagrams that \
            were dropped, by reason.
            """
    )
    @OptionGroup var door: DoorOptions

    func run() async throws {
        try await reporting {
            guard let document = try door.document("/mesh/peers", as: PeersDocument.self) else { return }
            var table = Table(
                ["node", "name", "state", "reach", "rtt ms", "sells", "trust", "balance cr", "address"],
                rightAligned: [4, 6, 7])
            for peer in document.peers {
                table.add([
                    shortID(peer.nodeID), label(peer.name, isPinned: peer.isPinned), peer.state, peer.reach,
                    peer.roundTripMilliseconds.map { $0.text(decimals: 2) } ?? "-",
                    peer.sells.isEmpty ? "-" : peer.sells.joined(separator: ", "),
                    peer.trust.text(decimals: 2),
                    MicroCredits.text(peer.balance.microCredits), peer.endpoints.first ?? "-",
                ])
            }
            emit(table.text())
            remark(Printable.line("this node: reach \(StatusCommand.text(document.own.reach))"))
            if let fix = document.own.reach.fix { remark(Printable.line(fix)) }
            let dropped = document.dropped.filter { $0.value > 0 }.sorted { $0.key < $1.key }
            if !dropped.isEmpty {
                let counts = dropped.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
                remark(Printable.line("dropped datagrams: \(counts)"))
            }
        }
    }
}

struct OffersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "offers", abstract: "The offers that a node holds: sellers, models and prices.",
        discussion: "Prices are credits per million tokens.")
    @OptionGroup var door: DoorOptions
    @Option(help: "Only offers of this model.") var model: String?

    func run() async throws {
        try await reporting {
            let query = model.map { "?model=" + $0.percentEscaped } ?? ""
            guard let document = try door.document("/mesh/offers" + query, as: OffersDocument.self) else {
                return
            }
            var table = Table(
                [
                    "model", "node", "name", "price in/out", "slots", "tok/s", "first token ms", "context",
                    "quantization",
                    "age s",
                ], rightAligned: [4, 5, 6, 7, 9])
            for offer in document.offers {
                table.add([
                    offer.model, shortID(offer.nodeID),
                    label(offer.name, isPinned: offer.isPinned) + (offer.isDenied ? " (denied)" : ""),
                    "\(MicroCredits.text(offer.price.input)) / \(MicroCredits.text(offer.price.output))",
                    "\(offer.slots)",
                    offer.measured.tokensPerSecond.text(decimals: 0),
                    "\(offer.measured.firstTokenMilliseconds)", "\(offer.context)",
                    offer.quantization.isEmpty ? "-" : offer.quantization, "\(offer.ageMilliseconds / 1000)",
                ])
            }
            emit(table.text())
            if document.offers.isEmpty {
                remark(
                    model.map { "no offer of \(Printable.line($0)) is known here" }
                        ?? "no offers are known here")
            }
        }
    }
}

struct WhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Explain a task: the nodes asked, their bids, and the winner.",
        discussion: """
            The task's id is in the last line of `starling ask`, in the header \
            `x-request-id` of an HTTP answer, and `_request_id` in OpenAI's clients. \
            Its first six letters suffice. Ask the node that took the task (--via): \
            others don't know it. It shows the bids of the task's last auction, and \
            every worker that the task had.
            """
    )
    @OptionGroup var door: DoorOptions
    @Argument(help: "The id of a task, or its first letters (six or more).") var task: String

    func validate() throws {
        if task.count < 6 { throw ValidationError("give the first six letters of the task's id, or more") }
    }

    func run() async throws {
        try await reporting {
            let path = "/mesh/tasks/" + task.percentEscaped
            guard let document = try door.document(path, as: TaskDocument.self) else { return }
            emit(AuctionText.table(document))
            emit(AuctionText.end(document, why: nil) + "\n")
        }
    }
}
