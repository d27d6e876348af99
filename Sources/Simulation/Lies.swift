// The answers of colluding liars. They follow the protocol's forms, so that they are accepted, but name only
// each other, as contacts and as providers of anything. For studies of routing (`StudyMesh`) and for hostile
// machines in a world (`World+Hostile`).

import Primitives
import Wire

struct Lies {
    /// The liar's own contact.
    var own: SignedRecord
    /// Colluders' contacts, closest to a point first; at most the given number.
    var nearest: (Bytes32, Int) -> [SignedRecord]
    /// Colluders' registrations for a topic.
    var registrations: (TopicID, UInt32) -> [SignedRecord]

    /// Returns nil for no answer.
    func answer(_ message: Message, to asker: Endpoint) -> Message? {
        switch message {
        case .discovery(.ping): return .discovery(.pong(contact: own, observed: asker))
        case .discovery(.find(let target)): return .discovery(.found(contacts: nearest(target, 8)))
        case .discovery(.get(let topic, let start)):
            return .discovery(
                .providers(
                    Providers(registrations: registrations(topic, start), contacts: nearest(topic.value, 2))))
        case .discovery(.register(let register)):
            // A promise that it doesn't keep.
            let topic = (try? Registration(decoding: register.registration.body))?.topic
            return .discovery(
                .registered(
                    Registered(heldMilliseconds: 900_000, contacts: topic.map { nearest($0.value, 3) } ?? []))
            )
        case .gossip(.offerMail): return .gossip(.offerReceived)
        case .gossip(.offerDigest): return .gossip(.offerDifference(OfferDifference()))
        default: return nil
        }
    }

    /// The message with as many of its records as fit into `bytesMax` bytes.
    static func cut(_ message: Message, to bytesMax: Int) -> Message {
        var message = message
        while Envelope(message: message).encoded().count > bytesMax {
            switch message {
            case .discovery(.found(var contacts)) where !contacts.isEmpty:
                contacts.removeLast()
                message = .discovery(.found(contacts: contacts))
            case .discovery(.providers(var providers)) where !providers.registrations.isEmpty:
                if providers.contacts.isEmpty {
                    providers.registrations.removeLast()
                } else {
                    providers.contacts.removeLast()
                }
                message = .discovery(.providers(providers))
            case .discovery(.registered(var registered)) where !registered.contacts.isEmpty:
                registered.contacts.removeLast()
                message = .discovery(.registered(registered))
            default: return message
            }
        }
        return message
    }
}
