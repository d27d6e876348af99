import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

@Suite struct CheckedRecordsTests {
    private struct Model: ModelTest {
        struct Operation { var node, place, sequence: Int }
        var records = CheckedRecords<Contact>()
        /// The most recent last.
        var plain: [SignedRecord] = []

        init(_ random: inout SeededRandom) {}

        func draw(_ random: inout SeededRandom) -> Operation {
            Operation(
                node: random.below(SignedContacts.nodes), place: random.below(3), sequence: random.below(3))
        }

        /// Looks up a record. If unknown, checks and stores it, as the owner does.
        mutating func apply(_ operation: Operation) throws {
            let contact = SignedContacts.contact(
                operation.node, place: operation.place, sequence: operation.sequence)
            let found = records.find(contact.signed)
            let isKnown = plain.suffix(CheckedRecords<Contact>.capacity).contains(contact.signed)
            try same(found != nil, isKnown, "is known")
            if let found { try holds(found === contact, "another record") }
            var altered = contact.signed
            altered.body.append(0)
            try holds(records.find(altered) == nil, "a record under another's signature is known")
            guard !isKnown else { return }
            records.insert(contact)
            plain.append(contact.signed)
            try holds(records.find(contact.signed) === contact, "not kept")
        }
    }

    @Test(arguments: modelSeeds) func theLastSixtyFourRecordsAreKnownByTheirExactBytes(_ seed: UInt64) throws
    {
        try check(Model.self, seed: seed, steps: 600)
    }
}
