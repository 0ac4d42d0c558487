/** Only forge's ASN.1 is used: importing the whole package would add its RSA, TLS and PKCS#12 to the bundle. */
declare module 'node-forge/lib/asn1.js' {
  import { asn1 } from 'node-forge';
  export default asn1;
}
