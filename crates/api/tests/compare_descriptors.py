"""Compares Redkite's protocol files with the descriptors inside the installed pymilvus.

Usage: python compare_descriptors.py DESCRIPTOR_SET

DESCRIPTOR_SET is a serialized google.protobuf.FileDescriptorSet. Everything in it must exist in pymilvus and be the
same: every message with all its fields (name, number, type, label, oneof), every enum value, every RPC. Prints each
difference and exits with 1 if there is one.
"""

import sys

import pymilvus
from google.protobuf import descriptor_pb2
from pymilvus.grpc_gen import common_pb2, milvus_pb2, msg_pb2, schema_pb2

# Enums of which Redkite lists only some values; all others must be complete.
PARTIAL_ENUMS = {"milvus.proto.common.MsgType"}

differences = []
compared = {"messages": 0, "fields": 0, "enum values": 0, "RPCs": 0}


def differs(text):
    differences.append(text)


def index(files):
    """All messages, enums and services of `files` by full name."""
    messages, enums, services = {}, {}, {}

    def add_message(prefix, message):
        name = f"{prefix}.{message.name}"
        messages[name] = message
        for nested in message.nested_type:
            add_message(name, nested)
        for enum in message.enum_type:
            enums[f"{name}.{enum.name}"] = enum

    for file in files:
        for message in file.message_type:
            add_message(file.package, message)
        for enum in file.enum_type:
            enums[f"{file.package}.{enum.name}"] = enum
        for service in file.service:
            services[f"{file.package}.{service.name}"] = service
    return messages, enums, services


def field_facts(message, field):
    """What must agree about a field."""
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
    return {
        "name": field.name,
        "type": field.type,
        "type name": field.type_name,
        "label": field.label,
        "oneof": oneof,
        "optional": field.proto3_optional,
    }


def compare_message(name, ours, theirs):
    compared["messages"] += 1
    wanted = {field.number: field_facts(theirs, field) for field in theirs.field}
    found = {field.number: field_facts(ours, field) for field in ours.field}
    for number in sorted(wanted.keys() | found.keys()):
        compared["fields"] += 1
        if number not in found:
            differs(f"{name}: field {number} ({wanted[number]['name']}) is missing")
        elif number not in wanted:
            differs(f"{name}: field {number} ({found[number]['name']}) does not exist in pymilvus")
        elif wanted[number] != found[number]:
            differs(f"{name}: field {number} is {found[number]}, in pymilvus {wanted[number]}")


def compare_enum(name, ours, theirs):
    wanted = {value.name: value.number for value in theirs.value}
    found = {value.name: value.number for value in ours.value}
    for value, number in found.items():
        compared["enum values"] += 1
        if wanted.get(value) != number:
            differs(f"{name}.{value} is {number}, in pymilvus {wanted.get(value)}")
    if name not in PARTIAL_ENUMS:
        for value in wanted.keys() - found.keys():
            differs(f"{name}.{value} is missing")


def compare_service(name, ours, theirs):
    wanted = {method.name: method for method in theirs.method}
    for method in ours.method:
        compared["RPCs"] += 1
        other = wanted.get(method.name)
        facts = ("input_type", "output_type", "client_streaming", "server_streaming")
        if other is None or any(getattr(method, fact) != getattr(other, fact) for fact in facts):
            differs(f"{name}.{method.name} is not the RPC of that name in pymilvus")


def compare(kind, ours, theirs, compare_one):
    for name, entry in ours.items():
        if name in theirs:
            compare_one(name, entry, theirs[name])
        else:
            differs(f"{kind} {name} does not exist in pymilvus")


def main():
    with open(sys.argv[1], "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    theirs = []
    for module in (common_pb2, schema_pb2, msg_pb2, milvus_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        theirs.append(file)
    comparisons = (compare_message, compare_enum, compare_service)
    for kind, mine, other, one in zip(("message", "enum", "service"), index(ours), index(theirs), comparisons):
        compare(kind, mine, other, one)
    for text in differences:
        print(text)
    counts = ", ".join(f"{count} {what}" for what, count in compared.items())
    print(f"pymilvus {pymilvus.__version__}: compared {counts}; {len(differences)} differences")
    if compared["RPCs"] == 0 or differences:
        sys.exit(1)


main()
