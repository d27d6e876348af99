import MeshDocuments
import Primitives

/// What a node sold, as lines of `starling status`.
enum SoldText {
    static func lines(_ sold: SalesDocument) -> [String] {
        guard sold.total.all != SaleSumsDocument() || !sold.refused.isEmpty else { return [] }
        var lines = ["sold        \(text(sold.total))"]
        if sold.models.count > 1 {
            lines += sold.models.map { "  \(padded($0.model))\(text($0.sold))" }
        }
        lines += sold.buyers.map { buyer in
            let name =
                buyer.nodeID.map { id in
                    buyer.name.isEmpty
                        ? shortID(id)
                        : label(buyer.name, isPinned: buyer.isPinned)
                            + (buyer.isPinned ? "" : " \(shortID(id))")
                } ?? "others"
            return "  to \(padded(name))\(text(buyer.sold))"
        }
        if !sold.refused.isEmpty {
            let reasons = sold.refused.map {
                "\($0.reason.replacing("_", with: " ")) \($0.calls.today)/\($0.calls.week)/\($0.calls.all)"
            }
            lines.append("refused     calls today/7 days/ever: \(reasons.joined(separator: ", "))")
        }
        return lines
    }

    private static func padded(_ text: String) -> String {
        text + String(repeating: " ", count: max(1, 22 - text.count))
    }

    private static func text(_ periods: PeriodsDocument<SaleSumsDocument>) -> String {
        "today \(text(periods.today)) · 7 days \(text(periods.week)) · ever \(text(periods.all))"
    }

    /// `12 answers (1 broke off), 3400 tokens, 0.0123 cr`
    private static func text(_ sums: SaleSumsDocument) -> String {
        guard sums != SaleSumsDocument() else { return "-" }
        let broken = sums.broken > 0 ? " (\(sums.broken) broke off)" : ""
        return "\(counted(sums.answers, "answer"))\(broken), \(counted(sums.completionTokens, "token")), "
            + "\(MicroCredits.text(sums.earned.microCredits)) cr"
    }
}
