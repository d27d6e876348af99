import FoundationEssentials
import Glibc
import MeshDocuments
import Primitives

/// A task's transcript as text.
enum AuctionText {
    /// The table of bidders, with the scoring rule below it.
    static func table(_ task: TaskDocument) -> String {
        var text =
            Printable.line(
                "\(task.via) asks for \(task.model) (\(counted(task.call.tokensIn, "token")) in, about \(task.call.tokensOutEstimate) out; at most \(seconds(Double(task.limits.deadlineMilliseconds))))"
            ) + "\n\n"
        if !task.bids.isEmpty {
            text += self.table(task.bids)
            text +=
                "  score = (estimate + \(task.call.weights.timePerSecond) µcr per second) ÷ trust; the lowest wins.\n"
            if let comparison = comparison(task.bids) { text += "  \(comparison)\n" }
        }
        let skipped = task.candidates.skipped.filter { $0.nodes > 0 }
        if !skipped.isEmpty {
            let reasons = skipped.map { "\($0.nodes) (\($0.reason.replacing("_", with: " ")))" }
            text += Printable.line("  Not asked: \(reasons.joined(separator: ", ")).") + "\n"
        }
        return text + "\n"
    }

    /// A quote's bids.
    static func quote(_ quote: QuoteDocument) -> String {
        Printable.line(
            "\(quote.model) for \(counted(quote.tokensIn, "token")) in, about \(quote.tokensOut) out; nothing is reserved"
        ) + "\n\n" + table(quote.bids)
    }

    private static func table(_ bids: [TaskBid]) -> String {
        var table = Table(
            ["", "bidder", "price in/out", "estimate", "waits", "starts", "speed", "done in", "score", ""],
            rightAligned: [3, 4, 5, 6, 7, 8])
        for bid in bids {
            let price =
                bid.price.map { "\(MicroCredits.text($0.input)) / \(MicroCredits.text($0.output))" } ?? "-"
            let starts = Double(bid.queueMilliseconds ?? 0) + Double(bid.expectedFirstTokenMilliseconds ?? 0)
            table.add([
                bid.outcome == "won" ? "▸" : " ",
                called(bid), price,
                bid.price == nil ? "-" : "\(bid.estimate ?? .zero) µcr",
                bid.queueMilliseconds.map { $0 == 0 ? "-" : seconds(Double($0)) } ?? "-",
                bid.price == nil ? "-" : "\(starts.text(decimals: 0)) ms",
                bid.expectedTokensPerSecond.map { "\($0.text(decimals: 0)) tok/s" } ?? "-",
                bid.completionMilliseconds.map { "\(($0 / 1000).text(decimals: 2)) s" } ?? "-",
                bid.score.map { "\($0)" } ?? "-",
                (bid.outcome + (bid.declined.map { ": \($0)" } ?? "")).replacing("_", with: " "),
            ])
        }
        return table.text(aligned: true)
    }

    /// By how much, and why, the winner beat the second.
    private static func comparison(_ bids: [TaskBid]) -> String? {
        guard let first = bids.first(where: { $0.outcome == "won" }), let best = first.score,
            let second = bids.first(where: { $0.outcome == "lost" && $0.score != nil }),
            let next = second.score, best > 0
        else { return nil }
        // A stranger's bid decides how far apart they are.
        let percent = Int(min((Double(next) - Double(best)) / Double(best) * 100, 1e9))
        let time = ((first.completionMilliseconds ?? 0) - (second.completionMilliseconds ?? 0)) / 1000
        let money = (first.estimate ?? .zero) - (second.estimate ?? .zero)
        let pace = "\(abs(time).text(decimals: 2)) s \(time > 0 ? "slower" : "faster")"
        return
            "\(called(first)) beats \(called(second)) by \(percent) %: \(pace), \(money.magnitude) µcr \(money > .zero ? "more expensive" : "cheaper")."
    }

    /// The last lines: failovers, what was delivered, by which node, for how much, and the time of each
    /// phase. `why` is the command that tells more.
    static func end(_ task: TaskDocument, why: String?) -> String {
        var lines: [String] = []
        let more = why.map { "   why: \($0)" } ?? ""
        for (lost, next) in zip(task.assignments, task.assignments.dropFirst()) {
            let gap = next.gapMilliseconds.map { " after \(seconds($0))" } ?? ""
            lines.append(ended(lost) + "; \(called(next)) continued\(gap)")
        }
        // Of a delivered task too: nobody had a word to say.
        if let last = task.assignments.last, last.why != nil { lines.append(ended(last)) }
        if task.assignments.count > 1 {
            lines.append(
                "bill: " + task.assignments.map { "\(called($0)) \($0.cost) µcr" }.joined(separator: ", "))
        }
        let phases = [
            ("choose", task.phases.choose), ("bids", task.phases.bids), ("award", task.phases.award),
            ("first token", task.phases.firstToken),
        ].compactMap { name, value in value.map { "\(name) \($0.text(decimals: 1))" } }
        let times = phases.isEmpty ? "" : "   (ms: \(phases.joined(separator: " · ")))"
        let delivered = task.usage.completionTokens
        let bill = "\(counted(delivered, "token")), \(task.usage.cost) µcr"
        let pace = pace(task.phases)
        switch task.state {
        case "delivered":
            let by =
                task.assignments.last.map { " by \(called($0))" }
                ?? ""
            lines.append("\(bill),\(by)\(pace)\(times)\(more)")
        case "refused", "failed", "cancelled":
            lines.append("\(task.state): \(task.message ?? task.reason ?? "no reason kept")")
            let costs = delivered > 0 || task.usage.cost > .zero
            lines.append("\(costs ? bill : "no cost")\(pace.isEmpty ? "" : ",\(pace)")\(times)\(more)")
        default:
            lines.append("\(task.state)\(times)")
        }
        return lines.map { Printable.line($0) }.joined(separator: "\n")
    }

    /// From the submission to the end, and how much of it nobody worked on the task.
    private static func pace(_ phases: TaskPhaseTimes) -> String {
        guard let total = phases.total else { return "" }
        let waited = phases.waited.flatMap { $0 < 1_000 ? nil : " (waited \(seconds($0, long: 1)))" } ?? ""
        return " in \(seconds(total, long: 1))\(waited)"
    }

    private static func ended(_ lost: TaskAssignment) -> String {
        let why = lost.why.map { " (\($0))" } ?? ""
        return "\(called(lost)) \(ending(lost.ended)) after \(counted(lost.tokens, "token"))\(why)"
    }

    private static func called(_ bid: TaskBid) -> String {
        called(bid.name, bid.nodeID, isPinned: bid.isPinned)
    }

    private static func called(_ assignment: TaskAssignment) -> String {
        called(assignment.name, assignment.nodeID, isPinned: assignment.isPinned)
    }

    /// The owner's name for a node; else its id, with the label that it gives itself.
    private static func called(_ name: String, _ id: String, isPinned: Bool) -> String {
        isPinned
            ? label(name, isPinned: true)
            : name.isEmpty ? shortID(id) : "\(label(name, isPinned: false)) \(shortID(id))"
    }

    private static func ending(_ end: String) -> String {
        switch end {
        case "stalled": "stalled"
        case "lost": "was lost"
        case "left": "left"
        default: end
        }
    }

    private static func seconds(_ milliseconds: Double, long: Int = 0) -> String {
        milliseconds >= 9_950
            ? "\((milliseconds / 1000).text(decimals: long)) s"
            : "\((milliseconds / 1000).text(decimals: 2)) s"
    }
}
