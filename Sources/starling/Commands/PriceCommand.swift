import ArgumentParser
import MeshDocuments
import OpenAIFormat
import Primitives

struct PriceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "price", abstract: "Show or change the terms on which a running node sells a model.",
        discussion: """
            Changes hold until the node restarts or reads its file again (SIGHUP): \
            write them there too to keep them. The new offer goes out at once; tasks \
            that have a bid keep its price.

              starling price wren-m                      # show
              starling price wren-m 0.10/0.40            # credits per million in and out
              starling price wren-m --surge 1.5 --quiet 22:00-08:00 --quiet 12:00-13:00
              starling price wren-m --quiet none --deny 7qk4m2xa3b9c
            """)

    @OptionGroup var door: DoorOptions
    @Argument(help: "The model, as this node sells it.") var model: String
    @Argument(help: ArgumentHelp("Credits per million tokens in and out, or out alone.", valueName: "IN/OUT"))
    var price: String?
    @Option(help: ArgumentHelp("Credits per million tokens of cached input.", valueName: "CREDITS"))
    var cached: String?
    @Option(
        help: ArgumentHelp(
            "Times the price that is asked while every slot is taken (1 to 10).", valueName: "FACTOR"))
    var surge: String?
    @Option(
        help: ArgumentHelp("The least credits that a task must be expected to bring.", valueName: "CREDITS"))
    var reserve: String?
    @Option(
        help: ArgumentHelp(
            "Hours of each day in which nothing is sold, by the node's clock (may be repeated), or `none`.",
            valueName: "HH:MM-HH:MM"))
    var quiet: [String] = []
    @Option(help: ArgumentHelp("Tasks a minute of one buyer; 0: any number.", valueName: "N"))
    var rate: String?
    @Option(help: ArgumentHelp("Tasks a minute of one network; 0: any number.", valueName: "N"))
    var networkRate: String?
    @Option(
        help: ArgumentHelp(
            "Serve only this node: a key, an id, or a name of yours (may be repeated); or `all`.",
            valueName: "NODE"))
    var allow: [String] = []
    @Option(help: ArgumentHelp("Don't serve this node (may be repeated); or `none`.", valueName: "NODE"))
    var deny: [String] = []

    func run() async throws {
        try await reporting {
            let change = try change()
            let status: StatusDocument?
            if change.isEmpty {
                status = try door.document("/mesh/status", as: StatusDocument.self)
            } else {
                let body = JSONTree.object([.init("model", .string(model))] + change)
                let response = try door.client().post("/mesh/price", json: body.bytes)
                guard response.status == 200 else { throw door.refused(response) }
                status = try door.read(response, as: StatusDocument.self)
            }
            guard let status else { return }
            guard let sold = status.models.first(where: { $0.model == model }) else {
                let models = status.models.map(\.model)
                throw fail(
                    "the node does not sell \(Printable.line(model))",
                    fix: models.isEmpty
                        ? "it sells nothing" : "it sells \(Printable.line(Nearest.list(models)))", .usage)
            }
            emit(Self.lines(sold).map { Printable.line($0) + "\n" }.joined())
            if !change.isEmpty {
                remark("until the node restarts; write it in its file too to keep it")
            }
        }
    }

    /// What the options state, as a `serve` entry states it.
    private func change() throws -> [JSONTree.Member] {
        var prices: [JSONTree.Member] = []
        if let price {
            let parts = price.split(separator: "/", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), let output = parts.last else {
                throw fail(
                    "\(price) is no price", fix: "write credits per million tokens, such as 0.10/0.40", .usage
                )
            }
            if parts.count == 2 { prices.append(.init("input", .string(String(parts[0])))) }
            prices.append(.init("output", .string(String(output))))
        }
        for (name, text) in [("cached_input", cached), ("surge", surge), ("reserve", reserve)] {
            if let text { prices.append(.init(name, .string(text))) }
        }
        var change: [JSONTree.Member] = prices.isEmpty ? [] : [.init("price", .object(prices))]
        func list(_ name: String, _ items: [String], empty word: String) {
            guard !items.isEmpty else { return }
            let kept = items == [word] ? [] : items
            change.append(.init(name, .array(kept.map { .string($0) })))
        }
        list("quiet", quiet, empty: "none")
        list("allow", allow, empty: "all")
        list("deny", deny, empty: "none")
        var rates: [JSONTree.Member] = []
        for (name, text) in [("buyer", rate), ("network", networkRate)] {
            if let text { rates.append(.init(name, .string(text))) }
        }
        if !rates.isEmpty { change.append(.init("rate", .object(rates))) }
        return change
    }

    static func lines(_ sold: ServedModelDocument) -> [String] {
        let (terms, price) = (sold.terms, sold.price)
        var lines: [String] = []
        if let price {
            let cached = "cached input \(MicroCredits.text(price.cachedInput))"
            let rates =
                "in \(MicroCredits.text(price.input)), \(cached), out \(MicroCredits.text(price.output))"
            lines.append("\(sold.model)  \(rates) credits per million tokens")
        }
        if terms.surge > 1 {
            lines.append("surge    up to \(terms.surge.text(decimals: 2)) × that while all slots are taken")
        }
        if terms.reserve > .zero {
            lines.append(
                "reserve  tasks of less than \(MicroCredits.text(terms.reserve.microCredits)) cr are declined"
            )
        }
        if !terms.quiet.isEmpty {
            let now = terms.quietMinutes.map { ": now, for \(StatusCommand.duration(Int64($0) * 60))" } ?? ""
            lines.append("quiet    \(terms.quiet.joined(separator: ", "))\(now)")
        }
        let rate = terms.tasksPerMinute
        if rate.buyer > 0 { lines.append("rate     \(counted(rate.buyer, "task")) a minute for a buyer") }
        if rate.network > 0 {
            lines.append("rate     \(counted(rate.network, "task")) a minute for a network")
        }
        if terms.allowed > 0 { lines.append("allow    only \(counted(terms.allowed, "node"))") }
        if terms.denied > 0 { lines.append("deny     \(counted(terms.denied, "node"))") }
        return lines
    }
}
