import ArgumentParser
import MeshDocuments
import Primitives
import UVLoop

struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "Who owes what to whom, and what was sold, by day, model and buyer.",
        discussion: """
            Amounts are credits. `owed` is what a peer owes this node, `owing` what \
            this node owes it, by all receipts ever; sold and bought count answers \
            since --since, by the receipts that are kept.

              starling ledger
              starling ledger --since 7d --csv > ledger.csv
              starling ledger --sales --since 2026-11-01
            """)

    @OptionGroup var door: DoorOptions
    @Flag(help: "What was sold instead, by day (UTC), model and buyer.") var sales = false
    @Option(
        help: ArgumentHelp(
            "Count receipts and sales from this day on: a day (UTC), or a number of days (7d).",
            valueName: "DAY"))
    var since: String?
    @Flag(help: "Comma-separated values.") var csv = false

    private var day: String?? {
        guard let since else { return .some(nil) }
        if CivilDay.parse(since) != nil { return since }
        guard since.hasSuffix("d"), let days = Int64(since.dropLast()), (1...40_000).contains(days) else {
            return nil
        }
        let today = SystemClock.wall.milliseconds / 86_400_000
        let first = CivilDay.start(max(0, today - days + 1))
        return String(Timestamp.text(milliseconds: first.milliseconds).prefix(10))
    }

    func validate() throws {
        if day == nil {
            throw ValidationError(
                "--since \(since ?? ""): give a day such as 2026-11-23, or a number of days such as 7d")
        }
    }

    func run() async throws {
        try await reporting {
            let query = (day ?? nil).map { "?since=\($0)" } ?? ""
            guard let ledger = try door.document("/mesh/ledger" + query, as: LedgerDocument.self) else {
                return
            }
            let rows = sales ? Self.sales(ledger) : Self.peers(ledger)
            if csv {
                emit(rows.map { $0.map(Self.field).joined(separator: ",") + "\r\n" }.joined())
            } else {
                var table = Table(
                    rows[0], rightAligned: Set(sales ? [4, 5, 6, 7, 8] : [2, 3, 4, 5, 7, 8, 9, 10, 11]))
                for row in rows.dropFirst() { table.add(row.map { $0.isEmpty ? "-" : $0 }) }
                emit(table.text())
                if !sales {
                    remark(
                        "in all: owed to this node \(Self.credits(ledger.owed)), owing by it \(Self.credits(ledger.owing))"
                    )
                }
            }
            if ledger.leftOut > 0 { remark("\(counted(ledger.leftOut, "row")) left out") }
        }
    }

    private static func credits(_ amount: Money) -> String { MicroCredits.text(amount.microCredits) }

    private static func peers(_ ledger: LedgerDocument) -> [[String]] {
        [
            [
                "node", "name", "owed", "owing", "reserved", "line", "last settled", "disputed", "sold",
                "earned", "bought", "spent", "last receipt",
            ]
        ]
            + ledger.peers.map { peer in
                let own = [peer.reserved, peer.line, peer.disputed].map { $0.map(credits) ?? "" }
                return [
                    peer.nodeID.map { shortID($0) } ?? "others", label(peer.name, isPinned: peer.isPinned),
                    credits(peer.owed), credits(peer.owing), own[0], own[1], peer.lastSettled ?? "", own[2],
                    "\(peer.sold)", credits(peer.earned), "\(peer.bought)", credits(peer.spent),
                    peer.lastReceipt ?? "",
                ]
            }
    }

    private static func sales(_ ledger: LedgerDocument) -> [[String]] {
        [["day", "model", "node", "name", "answers", "broken", "tokens in", "tokens out", "earned"]]
            + ledger.sales.map { sale in
                [
                    sale.day ?? "before", sale.model, sale.nodeID.map { shortID($0) } ?? "others",
                    label(sale.name, isPinned: sale.isPinned), "\(sale.sums.answers)", "\(sale.sums.broken)",
                    "\(sale.sums.promptTokens)", "\(sale.sums.completionTokens)", credits(sale.sums.earned),
                ]
            }
    }

    /// One value of a row (RFC 4180). A stranger's label must not become a formula of a spreadsheet.
    static func field(_ text: String) -> String {
        var text = Printable.line(text)
        if let first = text.first, "=+@\t".contains(first) || first == "-" && Double(text) == nil {
            text = "'" + text
        }
        guard text.contains(where: { $0 == "," || $0 == "\"" }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}
