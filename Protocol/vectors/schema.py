"""Google's protobuf classes for Protocol/*.proto, and the JSON description of a message that the vectors use."""

import os
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor as FD
from grpc_tools import protoc

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load():
    """Every message class by name. Compiled from the .proto files on each run, so they can't go stale."""
    with tempfile.NamedTemporaryFile() as out:
        names = ["records.proto", "messages.proto", "channel.proto"]
        status = protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={out.name}"] + names)
        if status != 0:
            raise SystemExit("the schema does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(open(out.name, "rb").read())
    pool = descriptor_pool.DescriptorPool()
    classes = {}
    for file in files.file:
        pool.Add(file)
    for file in files.file:
        for name in pool.FindFileByName(file.name).message_types_by_name:
            classes[name] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"starling.{name}"))
    return classes


WIDE = (FD.TYPE_INT64, FD.TYPE_UINT64, FD.TYPE_SINT64, FD.TYPE_FIXED64)


def describe(message):
    """The set fields by name: bytes in hex, 64-bit integers as strings, enums by name, the rest as JSON values."""

    def value(field, v):
        if field.type == FD.TYPE_MESSAGE:
            return describe(v)
        if field.type == FD.TYPE_BYTES:
            return v.hex()
        if field.type == FD.TYPE_ENUM:
            return field.enum_type.values_by_number[v].name
        return str(v) if field.type in WIDE else v

    # Padding is not part of an envelope's content.
    fields = [(f, v) for f, v in message.ListFields() if f.name != "padding"]
    return {f.name: [value(f, x) for x in v] if f.is_repeated else value(f, v) for f, v in fields}
