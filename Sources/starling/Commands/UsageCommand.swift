import ArgumentParser
import MeshDocuments
import Primitives

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What your node's own clients used, and what they may still spend.",
        discussion: """
            One line for each API key of `ask.keys`, and one for you (no key of its \
            own). With a client's key (--api-key) it shows that client alone. Days \
            are UTC; --json has the models too.
            """)
    @OptionGroup var door: DoorOptions

    func run() async throws {
        try await reporting {
            guard let usage = try door.document("/mesh/usage", as: UsageDocument.self) else { return }
            var table = Table(["client", "today (UTC)", "7 days", "ever", "credits a day", "left"])
            for client in usage.clients {
                let used = client.used
                table.add(
                    [client.client.isEmpty ? "(you)" : client.client]
                        + [used.today, used.week, used.all].map(Self.text) + Self.text(client.budget))
            }
            emit(table.text())
            if let node = usage.node, node.creditsPerDay != nil {
                let texts = Self.text(node)
                remark("all clients together: \(texts[0]) credits a day, \(texts[1]) left")
            }
        }
    }

    private static func text(_ sums: UsageSumsDocument) -> String {
        guard sums.tasks > 0 else { return "-" }
        return "\(counted(sums.tasks, "task")), \(counted(sums.completionTokens, "token")), "
            + "\(MicroCredits.text(sums.cost.microCredits)) cr"
    }

    private static func text(_ budget: BudgetDocument) -> [String] {
        [budget.creditsPerDay, budget.left].map { $0.map { MicroCredits.text($0.microCredits) } ?? "any" }
    }
}
