// What colluding liars answer. They keep the protocol's forms, so that they are let in, and name nobody but each other:
// as contacts, and as providers of whatever is searched. For studies of routing (`StudyMesh`) and for hostile machines
// in a world (`World+Hostile`).

import Primitives
import Wire

struct Lies {
    /// The liar's own contact.
    var own: SignedRecord
    /// Colluders' contacts, the nearest to a point first; at most so many.
    var nearest: (Bytes32, Int) -> [SignedRecord]
    /// Colluders' registrations for a topic.
    var registrations: (TopicID, UInt32) -> [SignedRecord]

    /// nil: nothing is said.
    func answer(_ message: Message, to asker: Endpoint) -> Message? {
        switch message {
        case .ping: return .pong(contact: own, observed: asker)
        case .find(let target): return .found(contacts: nearest(target, 8))
        case .get(let topic, let start):
            return .providers(
                Providers(registrations: registrations(topic, start), contacts: nearest(topic.value, 2)))
        case .register(let register):
            // Promised and not kept.
            let topic = (try? Registration(decoding: register.registration.body))?.topic
            return .registered(
                Registered(heldMilliseconds: 900_000, contacts: topic.map { nearest($0.value, 3) } ?? []))
        case .offerMail: return .offerReceived
        case .offerDigest: return .offerDifference(OfferDifference())
        default: return nil
        }
    }

    /// The message with as many of its records as fit into so many bytes.
    static func cut(_ message: Message, to bytesMax: Int) -> Message {
        var message = message
        while Envelope(message: message).encoded().count > bytesMax {
            switch message {
            case .found(var contacts) where !contacts.isEmpty:
                contacts.removeLast()
                message = .found(contacts: contacts)
            case .providers(var providers) where !providers.registrations.isEmpty:
                if providers.contacts.isEmpty {
                    providers.registrations.removeLast()
                } else {
                    providers.contacts.removeLast()
                }
                message = .providers(providers)
            case .registered(var registered) where !registered.contacts.isEmpty:
                registered.contacts.removeLast()
                message = .registered(registered)
            default: return message
            }
        }
        return message
    }
}
