import NodeConfiguration
import Primitives
import Testing

@Suite struct SettleSettingsTests {
    private func settle(_ yaml: String) throws -> SettleSettings {
        try NodeSettings(
            parsing: "settle: \(yaml)\nmesh: {}", source: .init(file: "node.yaml"), home: "/home/ann"
        ).settle
    }

    @Test func withoutACommandNothingIsPaid() throws {
        let settle = try settle("{}")
        #expect(settle.command.isEmpty && settle.threshold == nil)
    }

    @Test func theCommandIsAListOfWords() throws {
        let settle = try settle("{command: [/bin/pay, \"a b\"], threshold: 1.5, timeout: 5s}")
        #expect(settle.command == ["/bin/pay", "a b"] && settle.timeout == 5_000_000_000)
        #expect(settle.threshold == Money(microCredits: 1_500_000))
        #expect(try self.settle("{command: /bin/pay}").command == ["/bin/pay"])
    }

    @Test(arguments: [
        ("{command: pay --now}", "whole path"), ("{threshold: 1}", "command: ["),
        ("{command: /bin/pay, threshold: 0}", "1.00"), ("{command: /bin/pay, timeout: 2h}", "1 s to 1 h"),
        ("{comand: /bin/pay}", "`command`"),
    ])
    func aMistakeIsNamedWithItsFix(yaml: String, fix: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try settle(yaml) }
        #expect(error.fix.contains(fix), "\(error): \(error.fix)")
    }
}
