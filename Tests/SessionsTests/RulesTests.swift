import Foundation
import Primitives
import Testing
import Wire

@testable import Sessions

/// Checks that Protocol/rules.md, "Per message", and the code agree.
@Suite struct RulesTests {
    private struct Row {
        var message: String
        var rides: Bool
        var paddedTo: Int?
        var answers: [String]
    }

    private static let record = SignedRecord(body: [1], signature: Signature(r: .zero, s: .zero))
    private static let task = TaskID(high: 0, low: 0)
    /// One message of each kind, by its name in the table.
    private static let samples: [(name: String, message: Message)] = [
        ("PING", .discovery(.ping(contact: nil))), ("PONG", .discovery(.pong(contact: nil, observed: nil))),
        ("FIND", .discovery(.find(target: .zero))),
        ("FOUND", .discovery(.found(contacts: []))), ("UNSUPPORTED", .unsupported(kind: 0)),
        ("OFFER_MAIL", .gossip(.offerMail([]))),
        ("OFFER_RECEIVED", .gossip(.offerReceived)),
        ("OFFER_DIGEST", .gossip(.offerDigest(OfferDigest(first: 0, last: 0, offers: [])))),
        ("OFFER_DIFFERENCE", .gossip(.offerDifference(OfferDifference()))),
        ("CALL_FOR_BIDS", .market(.callForBids(CallForBids(task: task, attempt: 1, model: "m")))),
        ("BID", .market(.bid(record))),
        ("DECLINE", .market(.decline(Decline(task: task, attempt: 1, reason: .busy)))),
        ("RELEASE", .market(.release(Release(task: task, attempt: 1, winningScore: 0)))),
        ("AWARD", .market(.award(Award(task: task, attempt: 1, workerDials: false)))),
        ("AWARD_REPLY", .market(.awardReply(AwardReply(task: task, attempt: 1, status: .accepted)))),
        ("REGISTER", .discovery(.register(Register(registration: record)))),
        ("REGISTERED", .discovery(.registered(Registered(heldMilliseconds: 0)))),
        ("GET", .discovery(.get(topic: TopicID(.zero), start: 0))),
        ("PROVIDERS", .discovery(.providers(Providers()))),
        (
            "CALLBACK_REQUEST",
            .discovery(.callbackRequest(CallbackRequest(nonce: 1, port: 1, channel: false)))
        ),
        (
            "CALLBACK_ORDER",
            .discovery(
                .callbackOrder(
                    CallbackOrder(
                        publicKey: PublicKey(.zero), endpoint: .loopback(1), nonce: 1, channel: false)))
        ),
        ("CALLBACK_ANSWER", .discovery(.callbackAnswer(nonce: 1, called: nil))),
        ("CALLBACK", .discovery(.callback(nonce: 1))),
    ]

    private static func rows() throws -> [Row] {
        let text = try String(contentsOf: root.appendingPathComponent("Protocol/rules.md"), encoding: .utf8)
        let lines = text.split(separator: "\n").drop { !$0.hasPrefix("| message |") }.prefix {
            $0.hasPrefix("|")
        }
        return lines.dropFirst(2).map { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            let padding = Int(cells[3].filter(\.isNumber))
            let words = cells[5].split { !($0.isUppercase || $0 == "_") }.map(String.init)
            return Row(
                message: cells[1], rides: cells[2] == "yes", paddedTo: padding,
                answers: words.filter { $0.count > 2 })
        }
    }

    @Test("The table has a row for every request, and each kind is a request or an answer in it")
    func complete() throws {
        let rows = try Self.rows()
        let named = Set(rows.map(\.message)).union(rows.flatMap(\.answers)).subtracting(["any unknown kind"])
        #expect(named == Set(Self.samples.map(\.name)))
        #expect(rows.count == Set(rows.map(\.message)).count)
    }

    @Test("What may ride in a first message, and the size to which it is padded, is what the table says")
    func riding() throws {
        let rows = try Self.rows()
        for (name, message) in Self.samples {
            let row = rows.first { $0.message == name }
            #expect(message.isIdempotent == (row?.rides ?? false), "\(name)")
            if let row, row.rides { #expect(message.firstEnvelopeSize == row.paddedTo, "\(name)") }
        }
        #expect(rows.last?.message == "any unknown kind" && rows.last?.rides == true)
    }
}
