import MeshDocuments
import Primitives

/// What a node sold, as lines of `starling status`: one a model and one a buyer.
enum SoldText {
    static func lines(_ sold: SalesDocument) -> [String] {
        var lines: [String] = []
        if sold.total.all != SaleSumsDocument() {
            var table = Table(["sold", "today (UTC)", "7 days", "ever"])
            add("in all", sold.total, &table)
            for model in sold.models { add(model.model, model.sold, &table) }
            for buyer in sold.buyers { add("to \(name(of: buyer))", buyer.sold, &table) }
            lines += table.text(aligned: true).split(separator: "\n").map(String.init)
        }
        if !sold.refused.isEmpty {
            let reasons = sold.refused.map {
                "\($0.reason.replacing("_", with: " ")) \($0.calls.today)/\($0.calls.week)/\($0.calls.all)"
            }
            lines.append("refused     calls today/7 days/ever: \(reasons.joined(separator: ", "))")
        }
        return lines
    }

    private static func add(
        _ what: String, _ periods: PeriodsDocument<SaleSumsDocument>, _ table: inout Table
    ) {
        table.add([what, text(periods.today), text(periods.week), text(periods.all)])
    }

    private static func name(of buyer: SalesDocument.Buyer) -> String {
        guard let id = buyer.nodeID else { return "others" }
        if buyer.name.isEmpty { return shortID(id) }
        return label(buyer.name, isPinned: buyer.isPinned) + (buyer.isPinned ? "" : " \(shortID(id))")
    }

    /// `12 answers (1 broke off), 3400 tokens, 0.0123 cr`
    private static func text(_ sums: SaleSumsDocument) -> String {
        guard sums != SaleSumsDocument() else { return "-" }
        let broken = sums.broken > 0 ? " (\(sums.broken) broke off)" : ""
        return "\(counted(sums.answers, "answer"))\(broken), \(counted(sums.completionTokens, "token")), "
            + "\(MicroCredits.text(sums.earned.microCredits)) cr"
    }
}
