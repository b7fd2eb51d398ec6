// An encrypted mail server.  Once, in this folder:
//   pulumi package add ../..     (or this repository's git address; makes @pulumi/mailcrypt)
import * as pulumi from "@pulumi/pulumi";
import * as mailcrypt from "@pulumi/mailcrypt";

const config = new pulumi.Config();

const mail = new mailcrypt.MailCryptServer("mail", {
    image: config.require("image"),
    hostname: "mail.example.test",
    accounts: [{ address: "you@example.test", password: config.requireSecret("password") }],
    keys: [{ name: "k1", curve: mailcrypt.Curve.P384 }],
    ports: { submissions: 465, imaps: "127.0.0.1:993" },
});

// These resolve only after the proof has held.
export const endpoints = mail.endpoints;
export const keyId = mail.keyId;
